"""The service's OpenAPI document, held against what it answers.

Invariant: an answer passes only if its status, its media type and each of its members are in the document.
"""

import functools
import json
import re
from typing import Any

import httpx
import jsonschema_rs

Schema = dict[str, Any]


class Published:
    """One service's document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(path))), path)
            for path in document["paths"]
        ]

    def check(self, response: httpx.Response) -> None:
        """AssertionError if the document does not have this answer."""
        method, path = response.request.method.lower(), self._template(response.request.url.path)
        operation = self._document["paths"].get(path, {}).get("get" if method == "head" else method)
        if operation is None:
            assert path is None or response.status_code in (401, 403, 404, 405), (
                f"{method} {path} is not documented"
            )
            return
        told = operation["responses"].get(str(response.status_code))
        assert told, f"{method} {path}: {response.status_code} is not documented: {response.text[:300]}"
        told = self._resolved(told)
        content = told.get("content", {})
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if not media_type or response.status_code == 304:
            return
        assert media_type in content or "application/octet-stream" in content, (
            f"{method} {path}: {response.status_code} as {media_type} is not documented"
        )
        if media_type in ("application/json", "application/problem+json") and method != "head":
            self.check_document(content[media_type]["schema"], response.json())

    def check_document(self, schema: Schema, document: object) -> None:
        """AssertionError, naming the places, if the document has not the form of the schema, or has more."""
        faults = [
            f"/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
            for error in self._validator(json.dumps(schema)).iter_errors(document)
        ]
        assert not faults, faults

    @property
    def schemas(self) -> dict[str, Schema]:
        """The document's models, by name."""
        schemas: dict[str, Schema] = self._document["components"]["schemas"]
        return schemas

    def content(self, path: str, media_type: str) -> Schema:
        """What GET answers there in this media type."""
        content: Schema = self._document["paths"][path]["get"]["responses"]["200"]["content"][media_type]
        return content

    def _template(self, path: str) -> str | None:
        return next((template for pattern, template in self._paths if pattern.fullmatch(path)), None)

    def _resolved(self, told: Schema) -> Schema:
        if "$ref" not in told:
            return told
        response: Schema = self._document["components"]["responses"][told["$ref"].rpartition("/")[2]]
        return response

    @functools.cache  # noqa: B019 -- lives as long as the session's service
    def _validator(self, schema: str) -> jsonschema_rs.Validator:
        components = {"schemas": {n: _closed(s) for n, s in self._document["components"]["schemas"].items()}}
        return jsonschema_rs.validator_for(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                **json.loads(schema),
                "components": components,
            }
        )


def _closed(schema: Schema) -> Schema:
    """The schema, letting no member through that it does not name."""
    if "properties" in schema and "additionalProperties" not in schema:
        return {**schema, "additionalProperties": False}
    return schema


@functools.cache
def published(url: str) -> Published:
    """The document of the service at `url`."""
    return Published(httpx.get(f"{url}/openapi.json", timeout=60, trust_env=False, verify=False).json())
