"""The benchmark's reader of events counts and checks what it is sent, however the bytes come."""

import asyncio
from itertools import pairwise
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.events import Viewer

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LINES = [b'{"index":0,"output":[1,2]}', b'{"index":2,"output":{"a":"]}"}}', b'{"index":1,"output":null}']
EVENTS = (
    b'retry: 1000\nevent: job\nid: 0\ndata: {"id":"x","results":null}\n\n',
    b'event: results\nid: 2\ndata: {"results":[' + LINES[0] + b"," + LINES[1] + b"]}\n\n",
    b": ping\n",
    b'event: results\nid: 3\ndata: {"results":[' + LINES[2] + b"]}\n\n",
    b'event: end\nid: 3\ndata: {"id":"x","results":null}\n\n',
)


class Wire(asyncio.Transport):
    """A connection that goes nowhere."""

    def write(self, data: Any) -> None: ...
    def close(self) -> None: ...


def shown(*pieces: bytes) -> Viewer:
    """A viewer after these bytes and the end of the connection."""
    loop = asyncio.new_event_loop()
    viewer = Viewer(b"GET / HTTP/1.1\r\n\r\n", loop.create_future())
    loop.close()
    viewer.connection_made(Wire())
    for piece in pieces:
        viewer.data_received(piece)
    viewer.connection_lost(None)
    return viewer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = HEAD + b"".join(map(chunk, EVENTS)) + chunk(b"")


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_every_line_is_counted_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    """Number and checksum are those of the lines in their order, and the end is seen."""
    places = [0, *sorted(cuts), len(STREAM)]

    viewer = shown(*(STREAM[start:end] for start, end in pairwise(places)))

    assert viewer.ended.exception() is None
    assert (viewer.lines, viewer.told_end) == (3, True)
    assert viewer.checksum == crc32(b"".join(line + b"," for line in LINES))


def test_a_line_that_is_missing_or_changed_is_noticed() -> None:
    """The checksum is another one."""
    whole = shown(STREAM).checksum

    assert shown(STREAM.replace(b"[1,2]", b"[1,3]")).checksum != whole
    assert (
        shown(HEAD + b"".join(map(chunk, (EVENTS[0], EVENTS[3], EVENTS[4]))) + chunk(b"")).checksum != whole
    )


@pytest.mark.parametrize(
    "stream",
    [STREAM[:-5], HEAD, b"HTTP/1.1 503 Service Unavailable\r\n\r\n", HEAD + b"nonsense\r\n"],
    ids=["cut off", "no body", "refused", "no chunks"],
)
def test_a_stream_without_its_clean_end_is_a_failure(stream: bytes) -> None:
    """Of whatever kind: then nothing is measured."""
    assert isinstance(shown(stream).ended.exception(), ConnectionError)
