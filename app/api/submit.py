"""Submissions in their three forms: JSON, JSONL and multipart.

Invariant: task, options and quota are checked before the items are read, wherever the form allows it.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgspec
from fastapi import Request
from msgspec.structs import replace

from app.api import body, query
from app.api.arguments import pairs
from app.api.context import Context
from app.api.headers import header
from app.api.multipart import Form, FormReader
from app.api.preferences import Preferences
from app.api.schemas import MEMBER_BYTES_MAX, SubmitOptions
from app.domain.errors import Fault, Invalid, RequestError, WrongMediaType, shown
from app.domain.item import Block
from app.service.checking import Examination
from app.service.cutting import WHOLE_BYTES, Members, ObjectCutter, members_of
from app.service.intake import LineCutter, grouped
from app.service.jobs import Accepted, Draft
from app.service.naming import named_in

JSONL = frozenset({"application/jsonl", "application/x-ndjson", "application/x-jsonlines"})
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
SAID_BYTES_MAX, SAID_MAX = 1_024, 256
"""Of options that are kept, and how many; nobody changes them."""
FILES_AT_ONCE = 1_000
"""Of a form, before others have the loop."""
_FLAGS = frozenset({"follow", "validate_only"})
_JSONL_HINT = (
    "Send many items as JSON lines, which have no limit:"
    " curl -T items.jsonl '…/v1/jobs/my-id?task=…', one item per line."
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A submission that would be taken, and so many items, each of which is what the task takes."""

    task: str
    items: int


async def submit(request: Request, context: Context, job_id: str | None) -> Accepted:
    """Take the submission in `request`; see section "Submitting" of docs/api.md for its forms."""
    accepted = await _taken(request, context, job_id, validate_only=False)
    assert isinstance(accepted, Accepted)
    return accepted


async def validate(request: Request, context: Context, job_id: str | None) -> Checked:
    """Say whether the submission in `request` would be taken, and each of its items be run; keep nothing of it."""
    checked = await _taken(request, context, job_id, validate_only=True)
    assert isinstance(checked, Checked)
    return checked


async def _taken(
    request: Request, context: Context, job_id: str | None, *, validate_only: bool
) -> Accepted | Checked:
    context.jobs.check_open()
    context.space.check()
    await context.jobs.quotas.check()
    key = idempotency_key(request)
    media_type = (header(request.scope, b"content-type") or "").partition(";")[0].strip().lower()
    options = {name: value for name, value in pairs(request) if name not in _FLAGS}
    strict = Preferences.of(request).strict
    submission = _Submission(
        request, context, options, job_id, key, strict=strict, validate_only=validate_only
    )
    if media_type in JSONL or (not media_type and job_id is not None):
        return await submission.take_lines()
    if media_type == "application/json" or media_type.endswith("+json"):
        return await submission.take_json()
    if media_type == "multipart/form-data":
        return await submission.take_form()
    forms = "application/json, application/jsonl or multipart/form-data"
    if media_type == "application/x-www-form-urlencoded":
        raise WrongMediaType(f"curl -d sends a web form; use --json or -T. Jobs are sent as {forms}.")
    raise WrongMediaType(f"Jobs are sent as {forms}; set Content-Type.")


class _Submission:
    """One submission on its way in."""

    def __init__(
        self,
        request: Request,
        context: Context,
        query: Mapping[str, str],
        job_id: str | None,
        idempotency_key: str | None,
        *,
        strict: bool,
        validate_only: bool,
    ) -> None:
        self._request = request
        self._context = context
        self._query = query
        self._job_id = job_id
        self._key = None if validate_only else idempotency_key
        self._validate_only = validate_only
        self._check = strict or validate_only
        """Whether each item is to be checked before anything is started."""
        self._digest = None
        """Of all that was sent, if it may be sent again: under a new id it is always another job."""
        if self._job_id is not None or self._key is not None:
            self._digest = hashlib.sha256(msgspec.json.encode([job_id, sorted(query.items())]))

    async def take_json(self) -> Accepted | Checked:
        if self._query:
            name = shown(next(iter(self._query)))
            detail = "with a JSON body, options are members of that body"
            raise Invalid(f"{name}: {detail}.", [Fault(detail, parameter=name)])
        members = await self._members()
        options = said(members.values)
        if members.items is None and not options.open:
            detail = "is missing: the array of inputs, which only an open job may begin without"
            raise Invalid(f"/items: {detail}.", [Fault(detail, pointer="/items")])
        draft = self._draft(options, of_query=False)
        return await self._taken(draft, members.blocks(self._context.settings.max_item_bytes))

    async def _taken(self, draft: Draft, blocks: list[Block]) -> Accepted | Checked:
        """Take the job, whose items are at hand, or say what is wrong with them."""
        jobs = self._context.jobs
        if not self._check:
            return await jobs.submit(draft, blocks)
        await jobs.check_files(draft.task, await named_in(*(block.lines for block in blocks)))
        async with self._examination(draft) as examination:
            await examination.add(blocks, _by_pointer)
            await examination.finish()
        if self._validate_only:
            return Checked(draft.task, sum(block.count for block in blocks))
        return replace(await jobs.submit(draft, blocks), checked=True)

    def _examination(self, draft: Draft) -> Examination:
        jobs = self._context.jobs
        return jobs.checking.examination(jobs.task(draft.task), draft.params)

    async def _members(self) -> Members:
        """What the body has.  That it is too large, or not UTF-8, is told before what else may be wrong with it."""
        settings = self._context.settings
        sent = await body.small(self._request, min(WHOLE_BYTES, settings.max_body_bytes))
        if isinstance(sent, bytes):
            self._note(sent)
            return members_of(sent, settings.max_item_bytes, MEMBER_BYTES_MAX)
        pieces = self._digested(body.text(body.bounded(sent, settings.max_body_bytes, _JSONL_HINT)))
        try:
            return await ObjectCutter(settings.max_item_bytes, MEMBER_BYTES_MAX).cut(pieces)
        except RequestError:
            async for _ in pieces:
                pass
            raise

    async def _digested(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for data in pieces:
            self._note(data)
            yield data

    def _note(self, data: bytes) -> None:
        """This is part of what was sent."""
        if self._digest is not None:
            self._digest.update(data)

    async def take_lines(self) -> Accepted | Checked:
        options = SubmitOptions.parse(self._option_values(self._query), of_query=True)
        draft = self._draft(options, of_query=True)  # so that what is wrong is told before the body is sent
        jobs = self._context.jobs
        cutter = LineCutter(self._context.settings.max_item_bytes)
        async with jobs.upload(draft) as upload, self._examination(draft) as examination:

            async def add(blocks: Iterable[Block]) -> None:
                for block in blocks:
                    await upload.add([block])
                    if self._check:
                        await examination.add([block], partial(by_line, block.first, cutter.numbers))

            async for data in body.chunks(self._request):
                self._note(data)
                await add(cutter.feed(data))
            await add(cutter.finish())
            await examination.finish()
            if self._validate_only:
                return Checked(options.task, upload.count)
            accepted = await jobs.commit(upload, self._draft(options, of_query=True))
        return replace(accepted, checked=self._check)

    async def take_form(self) -> Accepted | Checked:
        settings = self._context.settings
        reader = FormReader(
            self._request.headers["content-type"], self._context.blobs.writing, settings.max_file_bytes
        )
        async with self._context.jobs.quotas.file() as taking:
            form = await reader.read(taking.metered(body.chunks(self._request)))
        query.refuse_twice([*self._query, *form.fields])
        options = SubmitOptions.parse(self._option_values({**self._query, **form.fields}), of_query=True)
        if self._digest is not None:
            for piece in told_of(form):
                self._note(piece)
                await asyncio.sleep(0)
        draft = self._draft(options, of_query=True)
        blocks = await self._file_items(self._context.jobs.task(options.task), form)
        if self._check:
            async with self._examination(draft) as examination:
                await examination.add(blocks, _by_pointer)
                await examination.finish()
        if self._validate_only:
            return Checked(options.task, len(form.files))
        for file in form.files:
            await self._context.files.note(file.id, file.size_bytes, file.name, file.media_type)
        return replace(await self._context.jobs.submit(draft, blocks), checked=self._check)

    async def _file_items(self, task: Mapping[str, Any], form: Form) -> list[Block]:
        parameter = task["file_parameter"]
        if parameter is None:
            raise Invalid(f"Task {task['name']!r} takes no file; send its items as JSON or JSON lines.")
        if not form.files:
            raise Invalid("The form has no file; add one with curl -F file=@a.jpg.")
        items = (
            {parameter: {"file": file.id} | ({"name": file.name} if file.name else {})} for file in form.files
        )
        blocks = []
        for block in grouped(map(msgspec.json.encode, items), self._context.settings.max_item_bytes):
            blocks.append(block)
            await asyncio.sleep(0)
        return blocks

    def _draft(self, options: SubmitOptions, *, of_query: bool) -> Draft:
        """The submission without its items; its task exists and its `params` are valid."""
        settings = self._context.settings
        task = self._context.jobs.task(options.task)
        _check_params(task, options.params, of_query=of_query)
        return Draft(
            task=options.task,
            options=options.options(task, settings.retention_seconds, settings.failure_retention_seconds),
            params=options.params,
            fingerprint=self._digest.hexdigest() if self._digest is not None else None,
            job_id=self._job_id,
            idempotency_key=self._key,
            label=options.label,
            open=options.open,
            metadata=options.metadata,
        )

    def _option_values(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Options of a query string or a form: `params` and `metadata` are JSON, `param.x` is x's value."""
        values: dict[str, Any] = {}
        params: dict[str, Any] = {}
        for name, text in given.items():
            if name.startswith("param."):
                params[name.removeprefix("param.")] = text
            elif name in ("params", "metadata"):
                values[name] = _json_object(name, text)
            else:
                values[name] = text
        if params:
            properties = {}
            if isinstance(task := values.get("task"), str):
                properties = self._context.jobs.task(task)["params_schema"]["properties"]
            typed = {name: _typed(text, properties.get(name, {})) for name, text in params.items()}
            values["params"] = values.get("params", {}) | typed
        return values


def told_of(form: Form) -> Iterator[bytes]:
    """What was sent, `[fields, [[id, name], …]]`, as JSON, some files at a time."""
    yield b"[%b,[" % msgspec.json.encode(form.fields)
    for start in range(0, len(form.files), FILES_AT_ONCE):
        files = [(file.id, file.name) for file in form.files[start : start + FILES_AT_ONCE]]
        yield (b"," if start else b"") + msgspec.json.encode(files)[1:-1]
    yield b"]]"


def _by_pointer(index: int, detail: str) -> Fault:
    return Fault(detail, pointer=f"/items/{index}")


def by_line(first: int, numbers: Sequence[int], index: int, detail: str) -> Fault:
    """What is wrong with an item of JSON lines; `numbers` are those of the lines of items from `first` on."""
    return Fault(detail, line=numbers[index - first])


def idempotency_key(request: Request) -> str | None:
    """The key, bare or quoted."""
    said = header(request.scope, b"idempotency-key")
    if said is None:
        return None
    key = said.strip().removeprefix('"').removesuffix('"')
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise Invalid(
            "Idempotency-Key: 1 to 255 printable ASCII characters, without spaces.",
            [Fault("1 to 255 printable ASCII characters", parameter="Idempotency-Key")],
        )
    return key


def said(values: Mapping[str, bytes]) -> SubmitOptions:
    """The options that these members of a JSON body are.  Invalid, naming each that is wrong.

    Most clients always say the same; so what was said lately, and is short, is not taken apart again.
    """
    members = tuple(values.items())
    if sum(map(len, values.values())) <= SAID_BYTES_MAX:
        return _said_lately(members)
    return _taken_apart(members)


def _taken_apart(members: Sequence[tuple[str, bytes]]) -> SubmitOptions:
    return SubmitOptions.parse({name: _decoded(name, raw) for name, raw in members}, of_query=False)


_said_lately = lru_cache(SAID_MAX)(_taken_apart)


def _decoded(name: str, raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        detail = f"cannot be read: {error}"
        raise Invalid(f"/{shown(name)}: {detail}.", [Fault(detail, pointer=f"/{shown(name)}")]) from None


def _json_object(name: str, text: str) -> dict[str, Any]:
    if len(text) > MEMBER_BYTES_MAX[name]:
        detail = f"more than {MEMBER_BYTES_MAX[name]} bytes"
        raise Invalid(f"{name}: {detail}.", [Fault(detail, parameter=name)])
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        detail = 'must be a JSON object, URL-encoded, like {"width":800}'
        raise Invalid(f"{name}: {detail}.", [Fault(detail, parameter=name)]) from None


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """The value that a query string's text stands for, by the parameter's schema."""
    if schema.get("type") == "string":
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _check_params(task: Mapping[str, Any], params: Mapping[str, Any], *, of_query: bool) -> None:
    """Invalid, naming each parameter that is wrong."""
    if not params:
        return
    import jsonschema_rs  # 3 ms, and 3 MiB that a service whose jobs have no `params` does without

    known = task["params_schema"]["properties"]
    faults = []
    validator = jsonschema_rs.Draft202012Validator(task["params_schema"], mask="this")
    for error in validator.iter_errors(dict(params)):
        path = [shown(str(part)) for part in error.instance_path]
        detail = error.message.partition("\n")[0][:200]
        if not path and (unknown := sorted(set(params) - set(known))):
            path = [shown(unknown[0])]
            detail = f"task {task['name']!r} has no such parameter; it has {', '.join(known) or 'none'}"
        if of_query:
            faults.append(Fault(detail, parameter=f"param.{'.'.join(path)}"))
        else:
            faults.append(Fault(detail, pointer="/params" + "".join(f"/{part}" for part in path)))
    if faults:
        raise Invalid(f"Not valid: {faults[0].parameter or faults[0].pointer}: {faults[0].detail}.", faults)
