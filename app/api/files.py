"""Routes of stored files."""

import mimetypes
import os
import pathlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import FileResponse

from app.api import body, documents, ranges, service_models
from app.api.aside import Framework, beside, entered_beside
from app.api.context import Context, Ctx
from app.api.multipart import FormReader, UploadedFile, base_name
from app.api.openapi import header, problems, reference, returns
from app.api.problems import place, problem
from app.api.query import Exact
from app.api.streaming import Receive, Scope, Send
from app.domain.errors import Invalid, NotFound, TooLarge, WrongMediaType
from app.domain.store import StoredFile

router = APIRouter(route_class=Exact, prefix="/v1/files", tags=["files"])

FileId = Annotated[
    str, Path(pattern=r"^sha256-[0-9a-f]{64}$", description="`sha256-` and the digest of the bytes")
]

_RANGE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")
_ACTIVE = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"})
"""What a browser might run; it is only ever offered as a download."""


@router.post(
    "",
    status_code=201,
    responses={
        201: returns("The file.", service_models.StoredFile, headers=("Location",)),
        **problems(413, 415, 422, 429, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": False,  # there are empty files
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {"schema": reference(service_models.FileUpload)},
            },
        },
    },
)
async def upload_file(
    request: Request,
    context: Ctx,
    name: Annotated[str, Query(description="what to call it; a form brings its own")] = "",
) -> Response:
    """Store a file: the raw body, or the one file of a form.  The same bytes are the same file."""
    context.space.check()
    media_type = request.headers.get("content-type", "application/octet-stream")
    if media_type.startswith("application/x-www-form-urlencoded"):
        raise WrongMediaType(
            "curl -d and --data-binary send a web form; use -T FILE -X POST, or -F file=@FILE."
            " Files are sent as they are, under their own Content-Type, or as multipart/form-data."
        )
    async with context.jobs.quotas.file() as taking:
        pieces = taking.metered(body.chunks(request))
        if media_type.startswith("multipart/form-data"):
            file = await _form_file(pieces, context, media_type)
        else:
            file = await _raw_file(base_name(name), pieces, context, media_type)
    await context.files.note(file.id, file.size_bytes, file.name, file.media_type)
    context.space.taken(file.size_bytes)
    document = {
        "file": file.id,
        "name": file.name,
        "size_bytes": file.size_bytes,
        "media_type": file.media_type,
        "links": {"self": f"/v1/files/{file.id}"},
    }
    return documents.answer(document, 201, {"Location": f"/v1/files/{file.id}"})


_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_FILE = ("ETag", "Accept-Ranges", "Content-Disposition")


@router.get(
    "/{file_id}",
    responses={
        200: returns("The bytes, under their own media type.", headers=_FILE, content=_BYTES),
        206: returns("Some of the bytes.", headers=(*_FILE, "Content-Range"), content=_BYTES),
        304: returns("You have it.", headers=("ETag",)),
        **problems(404, 416, 422),
    },
    openapi_extra={
        "parameters": [
            header("Range", "some of the bytes, like `bytes=0-99`"),
            header("If-Range", "obey `Range` only for the file with this `ETag`"),
            header("If-None-Match", "the `ETag` of the file that you have"),
        ]
    },
)
async def download_file(request: Request, context: Ctx, file_id: FileId) -> Response:
    """The file's bytes; `Range` and conditional requests work."""
    await Framework.load()
    noted = await context.files.find(file_id)
    return await beside(_opened, request, context.blobs.path(file_id), noted)


def _opened(request: Request, path: pathlib.Path, noted: StoredFile | None) -> Response:
    try:
        with path.open("rb") as file:
            return _answer(request, path.name, noted, file)
    except FileNotFoundError:
        raise _absent(path.name) from None


def _absent(file_id: str) -> NotFound:
    return NotFound(f"There is no file {file_id!r}.")


def _answer(request: Request, file_id: str, noted: StoredFile | None, file: BinaryIO) -> Response:
    media_type = noted.media_type if noted else _sniffed(file.read(16))
    headers = {
        "ETag": f'"{file_id}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    if ranges.known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    ranged = _asks_for_bytes(request, headers["ETag"])
    if ranged and not _satisfiable(request.headers["range"], size := os.fstat(file.fileno()).st_size):
        detail = f"The file has {size} bytes; ask for some of them, like Range: bytes=0-99."
        whole = {"Content-Range": f"bytes */{size}"}
        return problem("range-not-satisfiable", detail, place(request), headers=whole)
    if not ranged:
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    disposition = "attachment" if media_type.partition(";")[0].strip().lower() in _ACTIVE else "inline"
    name = (noted.name if noted else None) or file_id + (mimetypes.guess_extension(media_type) or "")
    return _OpenFile(file, headers, media_type, name, disposition)


class _OpenFile(FileResponse):
    """The bytes of an open file, which are sent also if it is removed meanwhile."""

    def __init__(
        self, file: BinaryIO, headers: Mapping[str, str], media_type: str, name: str, disposition: str
    ) -> None:
        self._descriptor = os.dup(file.fileno())
        super().__init__(
            f"/proc/self/fd/{self._descriptor}",  # opened again, it is the same file, whatever its name is now
            headers=headers,
            media_type=media_type,
            filename=name,
            stat_result=os.fstat(self._descriptor),
            content_disposition_type=disposition,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


@router.delete(
    "/{file_id}",
    status_code=204,
    responses={204: returns("It is forgotten."), **problems(404, 409, 422, 507)},
)
async def delete_file(context: Ctx, file_id: FileId) -> Response:
    """Forget a file that no job names; one that a task made is named by its job's results."""
    if await context.files.forget(file_id):
        try:
            await beside(context.blobs.path(file_id).unlink)
        except FileNotFoundError:
            raise _absent(file_id) from None
    return Response(status_code=204)


async def _form_file(pieces: AsyncIterator[bytes], context: Context, media_type: str) -> UploadedFile:
    reader = FormReader(media_type, context.blobs.writing, context.settings.max_file_bytes)
    form = await reader.read(pieces)
    if len(form.files) != 1:
        raise Invalid(f"The form has {len(form.files)} files; send one, or a job with many to POST /v1/jobs.")
    return form.files[0]


async def _raw_file(
    name: str | None, pieces: AsyncIterator[bytes], context: Context, media_type: str
) -> UploadedFile:
    limit = context.settings.max_file_bytes
    async with entered_beside(context.blobs.writing()) as writer:
        async for data in pieces:
            await beside(writer.write, data)
            if writer.size_bytes > limit:
                raise TooLarge(f"The file has more than {limit} bytes.")
        return UploadedFile(await beside(writer.commit), name, media_type, writer.size_bytes)


def _asks_for_bytes(request: Request, etag: str) -> bool:
    """Whether `Range` is to be obeyed: other units, and other files' bytes, are not asked for (RFC 9110, 14.2)."""
    unit = request.headers.get("range", "").partition("=")[0]
    return unit.strip().lower() == "bytes" and request.headers.get("if-range", etag) == etag


def _satisfiable(header: str, size: int) -> bool:
    """Whether each range names bytes of a file of this size."""
    ranges = header.partition("=")[2].split(",")
    return all(_has_bytes(_RANGE.fullmatch(part.strip()), size) for part in ranges)


def _has_bytes(found: re.Match[str] | None, size: int) -> bool:
    if found is None:
        return False
    first, last = found.groups()
    if not first:
        return bool(last) and int(last) > 0 and size > 0
    return int(first) < size and (not last or int(first) <= int(last))


_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
}


def _sniffed(head: bytes) -> str:
    """The media type of a file that a task made, from its first bytes."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next(
        (kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "application/octet-stream"
    )
