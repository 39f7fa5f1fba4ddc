"""multipart/form-data: each file part goes to the file store as it arrives; fields are kept.

How it works: a piece is parsed, digested and written by a thread, while the loop reads the next one.

Invariant: memory does not grow with the files; what was stored of a broken body is never named by anything.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.aside import beside
from app.domain.errors import Invalid, Malformed, TooLarge

FIELD_BYTES_MAX = 1 << 20
"""Of all fields together."""
FIELDS_MAX = 100
CONTENT_TYPE_CHARS_MAX = 1024
"""A boundary has 70 (RFC 2046, section 5.1.1); thousands of parameters beside it would hold the event loop."""


class FileWriter(Protocol):
    """Takes the bytes of one file."""

    @property
    def size_bytes(self) -> int: ...
    def write(self, data: bytes | memoryview) -> None: ...
    def commit(self) -> str: ...


@dataclass(frozen=True, slots=True)
class UploadedFile:
    id: str
    name: str | None
    media_type: str
    size_bytes: int


@dataclass(slots=True)
class Form:
    """What a form held, in the order it came."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[UploadedFile] = field(default_factory=list)


class FormReader:
    """Parses a form piece by piece; each file is written through a writer that `writing` opens."""

    def __init__(
        self,
        content_type: str,
        writing: Callable[[], AbstractContextManager[FileWriter]],
        file_bytes_max: int,
    ) -> None:
        if len(content_type) > CONTENT_TYPE_CHARS_MAX:
            raise Malformed(
                f"The Content-Type has more than {CONTENT_TYPE_CHARS_MAX} characters; all it needs is a boundary."
            )
        _, options = parse_options_header(content_type)
        if not (boundary := options.get(b"boundary")):
            raise Malformed("multipart/form-data needs a boundary; curl -F adds it by itself.")
        self._writing = writing
        self._file_bytes_max = file_bytes_max
        self._form = Form()
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._opened: AbstractContextManager[FileWriter] | None = None
        self._writer: FileWriter | None = None
        self._value = bytearray()
        self._field_bytes = 0
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_end,
                    "on_end": self._on_complete,
                },
            )
        except FormParserError as error:
            raise Malformed(f"The boundary of multipart/form-data cannot be used: {error}.") from None

    async def read(self, pieces: AsyncIterator[bytes]) -> Form:
        """The form, once its body has ended.  Malformed if that was not its end."""
        try:
            async for piece in pieces:
                await beside(self._parser.write, piece)
            self._parser.finalize()
        except FormParserError as error:
            raise Malformed(f"The body is not multipart/form-data: {error}.") from None
        finally:
            if self._opened is not None:
                await beside(self._close)
        if not self._complete:
            raise Malformed("The form ends before its last boundary.")
        return self._form

    def _begin(self) -> None:
        self._headers = {}
        self._value = bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers(self) -> None:
        _, self._disposition = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in self._disposition:
            raise Malformed("A part of the form has no name: Content-Disposition: form-data; name=….")
        if b"filename" in self._disposition:
            self._opened = self._writing()
            self._writer = self._opened.__enter__()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._writer is None:
            self._value += piece
            self._field_bytes += len(piece)
            if self._field_bytes > FIELD_BYTES_MAX:
                raise TooLarge(
                    f"The form's fields have more than {FIELD_BYTES_MAX} bytes; send what is large as a file."
                )
            return
        self._writer.write(piece)
        if self._writer.size_bytes > self._file_bytes_max:
            raise TooLarge(f"A file has more than {self._file_bytes_max} bytes.")

    def _on_end(self) -> None:
        if self._writer is None:
            field_name = self._disposition[b"name"].decode("utf-8", "replace")
            if field_name in self._form.fields:
                raise Invalid(f"The form has two fields {field_name[:100]!r}; say which one you mean.")
            self._form.fields[field_name] = self._value.decode("utf-8", "replace")
            if len(self._form.fields) > FIELDS_MAX:
                raise TooLarge(f"A form may have {FIELDS_MAX} fields.")
            return
        name = base_name(self._disposition[b"filename"].decode("utf-8", "replace"))
        media_type = self._headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
        size = self._writer.size_bytes
        self._form.files.append(UploadedFile(self._writer.commit(), name, media_type, size))
        self._close()

    def _on_complete(self) -> None:
        self._complete = True

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.__exit__(None, None, None)
        self._opened = self._writer = None


def base_name(path: str) -> str | None:
    """The name without folders, whichever way they are written, and without control characters."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in name if char.isprintable())[:255] or None
