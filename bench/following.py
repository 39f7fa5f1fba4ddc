"""A job submitted and its results followed to their end, in one request, by a client that costs little."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import IO
from urllib.parse import urlencode, urlsplit

import msgspec

from bench.figure import WrongResult

SECONDS_MAX = 300.0
"""How long the service may say nothing."""
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Submission:
    """A request that submits a job and is answered with its results."""

    path: str
    content_type: str
    body: bytes | IO[bytes]


def as_lines(task: str, lines: bytes | IO[bytes], **options: str) -> Submission:
    """Items as JSON lines, options in the query."""
    query = urlencode({"task": task, "follow": "1", **options})
    return Submission(f"/v1/jobs?{query}", "application/jsonl", lines)


def as_document(task: str, array: bytes, **options: object) -> Submission:
    """Items as a JSON array, in one document with the options."""
    head = msgspec.json.encode({"task": task, **options})[:-1]
    return Submission("/v1/jobs?follow=1", "application/json", b'%b,"items":%b}' % (head, array))


def follow(url: str, submission: Submission) -> bytes:
    """The result lines, once all have come."""
    pieces: list[bytes] = []
    _follow(url, submission, pieces.append)
    return b"".join(pieces)


def follow_into(file: IO[bytes], url: str, submission: Submission) -> None:
    """The result lines, where they are too many to be held."""
    _follow(url, submission, file.write)


def _follow(url: str, submission: Submission, take: Callable[[bytes], object]) -> None:
    """WrongResult where the answer is none, or was cut off."""
    headers = {"Content-Type": submission.content_type}
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=SECONDS_MAX)) as connection:
        connection.request("POST", submission.path, submission.body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise WrongResult(f"{response.status}: {response.read(500)!r}")
        while piece := response.read(_READ_BYTES):
            take(piece)
