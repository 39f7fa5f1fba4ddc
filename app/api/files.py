"""Routes of stored files."""

import mimetypes
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response
from starlette.responses import FileResponse

from app.api import body
from app.api.context import Context, Ctx
from app.api.multipart import FormReader, UploadedFile
from app.domain.errors import Invalid, NotFound, TooLarge

router = APIRouter(prefix="/v1/files", tags=["files"])

FileId = Annotated[
    str, Path(pattern=r"^sha256-[0-9a-f]{64}$", description="`sha256-` and the digest of the bytes")
]

_ACTIVE = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml"})
"""What a browser might run; it is only ever offered as a download."""


@router.post("", status_code=201)
async def post_file(request: Request, context: Ctx) -> Response:
    """Store a file: the raw body, or the one file of a form.  The same bytes are the same file."""
    media_type = request.headers.get("content-type", "application/octet-stream")
    if media_type.startswith("multipart/form-data"):
        file = await _form_file(request, context, media_type)
    else:
        file = await _raw_file(request, context, media_type)
    await context.files.note(file.id, file.size_bytes, file.name, file.media_type)
    document = {
        "file": file.id,
        "name": file.name,
        "size_bytes": file.size_bytes,
        "media_type": file.media_type,
        "links": {"self": f"/v1/files/{file.id}"},
    }
    headers = {"Location": f"/v1/files/{file.id}"}
    return Response(msgspec.json.encode(document), 201, headers, "application/json")


@router.get("/{file_id}")
async def get_file(context: Ctx, file_id: FileId) -> Response:
    """The file's bytes; `Range` and conditional requests work."""
    path = context.blobs.path(file_id)
    if not path.is_file():
        raise NotFound(f"There is no file {file_id!r}.")
    noted = await context.files.find(file_id)
    media_type = noted.media_type if noted else _sniffed(path.open("rb").read(16))
    headers = {
        "ETag": f'"{file_id}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    disposition = "attachment" if media_type.partition(";")[0].strip() in _ACTIVE else "inline"
    name = (noted.name if noted else None) or file_id + (mimetypes.guess_extension(media_type) or "")
    return FileResponse(
        path, headers=headers, media_type=media_type, filename=name, content_disposition_type=disposition
    )


@router.delete("/{file_id}", status_code=204)
async def delete_file(context: Ctx, file_id: FileId) -> Response:
    """Forget an uploaded file."""
    await context.files.forget(file_id)
    context.blobs.path(file_id).unlink(missing_ok=True)
    return Response(status_code=204)


async def _form_file(request: Request, context: Context, media_type: str) -> UploadedFile:
    reader = FormReader(media_type, context.blobs.writing, context.settings.max_file_bytes)
    form = await reader.read(body.chunks(request))
    if len(form.files) != 1:
        raise Invalid(f"The form has {len(form.files)} files; send one, or a job with many to POST /v1/jobs.")
    return form.files[0]


async def _raw_file(request: Request, context: Context, media_type: str) -> UploadedFile:
    limit = context.settings.max_file_bytes
    with context.blobs.writing() as writer:
        async for data in body.chunks(request):
            writer.write(data)
            if writer.size_bytes > limit:
                raise TooLarge(f"The file has more than {limit} bytes.")
        return UploadedFile(writer.commit(), request.query_params.get("name"), media_type, writer.size_bytes)


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
