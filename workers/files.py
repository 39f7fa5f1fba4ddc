"""Files that tasks take and return, kept in a content-addressed directory.

Invariant: a file's id is the SHA-256 of its bytes, and a file appears under its id complete or not at all.
"""

import hashlib
import mimetypes
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

FILE_ID = re.compile(r"sha256-[0-9a-f]{64}")
NAME_CHARS_MAX = 120
_COPY_BYTES = 1 << 20


class Blobs:
    """A directory of files named by what is in them: `ab/sha256-ab…`.

    If `durable`, a file that was committed survives a loss of power, else only the death of every process.
    """

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory = directory
        self.durable = durable
        self._named = False

    def path(self, file_id: str) -> Path:
        """Where the file is, or would be.  ValueError if `file_id` is not an id."""
        if not FILE_ID.fullmatch(file_id):
            raise ValueError(f"{file_id[:80]!r} is not a file id: those are 'sha256-' and 64 hex digits")
        return self.directory / file_id[7:9] / file_id

    @contextmanager
    def writing(self) -> Iterator["BlobWriter"]:
        """A writer whose `commit()` puts the bytes under their id; leaving without it leaves nothing behind."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".new-", delete=False) as stream:
            writer = BlobWriter(self, stream)
            try:
                yield writer
            finally:
                stream.close()
                Path(stream.name).unlink(missing_ok=True)

    def flush_names(self, section: Path) -> None:
        """Wait until the names in this part of the directory are on the disk, and, once, the directory's own."""
        _flush_directory(section)
        _flush_directory(self.directory)
        if not self._named:  # by whom it was made, and what became of that, is not known
            _flush_directory(self.directory.parent)
            self._named = True

    def discard_unfinished(self) -> None:
        """Remove what interrupted writers left.  Only while nobody writes."""
        for leftover in self.directory.glob(".new-*"):
            leftover.unlink(missing_ok=True)


class BlobWriter:
    """Bytes on their way into a `Blobs` directory."""

    def __init__(self, blobs: Blobs, stream: Any) -> None:
        self._blobs = blobs
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._stream.write(data)
        self.size_bytes += len(data)

    def commit(self) -> str:
        """Put the bytes in their place, atomically, and return their id."""
        file_id = f"sha256-{self._digest.hexdigest()}"
        target = self._blobs.path(file_id)
        if not self._blobs.durable and _renewed(target, self._digest.digest()):
            return file_id
        self._stream.flush()
        os.fchmod(self._stream.fileno(), 0o644)
        if self._blobs.durable:
            os.fsync(self._stream.fileno())
        target.parent.mkdir(exist_ok=True)
        Path(self._stream.name).replace(target)
        if self._blobs.durable:
            self._blobs.flush_names(target.parent)
        return file_id


def _renewed(path: Path, digest: bytes) -> bool:
    """Whether the file is there already, undamaged; if so, it counts as one that was just written.

    To put another in its place would have the file system write that to the disk first (ext4(5), auto_da_alloc).
    """
    try:
        os.utime(path)
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest() == digest
    except FileNotFoundError:
        return False


def _flush_directory(directory: Path) -> None:
    """As `app/stores/names.py` does: neither side knows the other."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


BLOBS: ContextVar[Blobs] = ContextVar("blobs")
"""Where this worker's files are; set once by the worker before it runs anything."""


class File:
    """A stored file: what a task declares to be given one, and what it returns to give one.

    In JSON it is its id, `"sha256-…"`, or `{"file": "sha256-…", "name": "b.jpg"}`; a task always answers the latter.
    """

    def __init__(self, file_id: str, *, name: str | None = None) -> None:
        self.id = file_id
        self.path = BLOBS.get().path(file_id)
        self.name = name

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str | None = None) -> Self:
        """Store `data`; storing the same bytes twice is one file."""
        with BLOBS.get().writing() as writer:
            writer.write(data)
            return cls(writer.commit(), name=name)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], *, name: str | None = None) -> Self:
        """Store a copy of the file at `path`, named like it unless `name` says otherwise."""
        source = Path(path)
        with source.open("rb") as stream, BLOBS.get().writing() as writer:
            while data := stream.read(_COPY_BYTES):
                writer.write(data)
            return cls(writer.commit(), name=name or source.name)

    def open(self) -> BinaryIO:
        """The file's bytes, for reading."""
        return self.path.open("rb")

    @property
    def media_type(self) -> str:
        """The media type that the name's ending suggests (RFC 2046); `application/octet-stream` if none."""
        return mimetypes.guess_type(self.name or "")[0] or "application/octet-stream"

    def reference(self) -> dict[str, str]:
        """The file as it stands in a result."""
        return {"file": self.id} | ({"name": self.name} if self.name else {})

    def __repr__(self) -> str:
        return f"File({self.id!r}, name={self.name!r})"

    @classmethod
    def _parse(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        name: Any = None
        if isinstance(value, dict) and set(value) <= {"file", "name"}:
            value, name = value.get("file"), value.get("name")
        if not isinstance(value, str) or not isinstance(name, str | None):
            raise ValueError('a file is its id, "sha256-…", or {"file": "sha256-…", "name": "…"}')
        file = cls(value, name=_base_name(name) if name else None)
        if not file.path.is_file():
            raise ValueError(f"no file {value} is stored here; upload it with POST /v1/files first")
        return file

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda file: file.reference()),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        file_id = {"type": "string", "pattern": f"^{FILE_ID.pattern}$"}
        reference = {
            "type": "object",
            "properties": {"file": file_id, "name": {"type": "string"}},
            "required": ["file"],
            "additionalProperties": False,
        }
        return {"title": "File", "format": "millpond-file", "anyOf": [file_id, reference]}


def _base_name(name: str) -> str | None:
    """The name without folders, control characters, or what no file can be called."""
    base = "".join(char for char in Path(name).name if char.isprintable())[:NAME_CHARS_MAX]
    return base if base not in ("", ".", "..") else None
