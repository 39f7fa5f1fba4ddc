"""Answers that may be large are sent in pieces, and are the same bytes."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.board import Batch
from app.api.job_page import AT_ONCE, AT_ONCE_BYTES, JobPage
from app.api.pieces import Spread, json_answer
from app.api.schemas import array_of_lines
from app.api.streaming import PIECE_BYTES, Message, Receive, Stream
from app.domain.item import Page
from app.domain.job import Job
from app.service.legible import DECODED_BYTES_MAX, is_json
from app.service.passing import SLICE_BYTES
from app.service.view import JobView
from tests.builders import a_job

LARGE = b'{"index":0,"output":"%b"}\n' % (b"a" * (3 * PIECE_BYTES))
SMALL = b'{"index":1,"output":1}\n'


async def no_message() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sends anything")


def sent(answer: Any, receive: Receive = no_message) -> tuple[dict[str, str], list[bytes]]:
    """The headers and the pieces of an answer, between any two large ones of which others had the loop."""
    messages: list[Message] = []

    async def tell() -> None:
        turns = turns_before = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def send(message: Message) -> None:
            nonlocal turns_before
            if len(message.get("body", b"")) == PIECE_BYTES:
                assert turns > turns_before
                turns_before = turns
            messages.append(message)

        counting = asyncio.create_task(count())
        await asyncio.sleep(0)
        await answer(
            {"type": "http", "method": "GET", "extensions": {"millpond.cut_off": None}}, receive, send
        )
        counting.cancel()

    asyncio.run(tell())
    start, *bodies = messages
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
    return (
        {name.decode(): value.decode() for name, value in start["headers"]},
        [bytes(body["body"]) for body in bodies],
    )


@pytest.mark.parametrize(
    "lines", [b"", SMALL, SMALL * 3, LARGE, SMALL + LARGE, SMALL * 50_000, LARGE + SMALL]
)
def test_an_answer_of_lines_is_what_it_would_be_at_once(lines: bytes) -> None:
    """Byte for byte, with its length."""
    whole = msgspec.json.encode({"results": array_of_lines(lines), "after": 0, "complete": None})

    headers, pieces = sent(json_answer({"results": Spread.lines(lines), "after": 0, "complete": None}))

    assert b"".join(pieces) == whole
    assert headers["content-length"] == str(len(whole))
    assert headers["content-type"] == "application/json"
    assert max(map(len, pieces)) <= PIECE_BYTES


@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 100, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 1]), max_size=6
    )
)
def test_an_array_is_what_its_elements_are(sizes: list[int]) -> None:
    """However large each is."""
    elements = [b'"%b"' % (b"a" * size) for size in sizes]

    _, pieces = sent(json_answer({"jobs": Spread.array(elements)}))

    assert b"".join(pieces) == b'{"jobs":[%b]}' % b",".join(elements)
    assert max(map(len, pieces)) <= PIECE_BYTES


def test_what_a_stream_has_at_once_is_sent_in_pieces() -> None:
    """As large a line as may be, to a client that takes all that it is sent."""

    async def lines() -> Any:
        yield SMALL
        yield memoryview(LARGE)

    _, pieces = sent(Stream(lines()))

    assert b"".join(pieces) == SMALL + LARGE
    assert max(map(len, pieces)) <= PIECE_BYTES


def test_a_large_line_is_not_copied_to_be_an_event() -> None:
    """Nor for each of those that it is sent to."""
    small, large = Batch.of(Page(SMALL * 2, 4, 2)), Batch.of(Page(LARGE, 4, 1))

    assert b"".join(small.events) == b'event: results\nid: 6\ndata: {"results":[%b]}\n\n' % (
        b",".join([SMALL[:-1]] * 2)
    )
    assert b"".join(large.events) == b'event: results\nid: 5\ndata: {"results":[%b]}\n\n' % LARGE[:-1]
    assert [piece.obj is LARGE for piece in large.events if isinstance(piece, memoryview)] == [True]


def test_jobs_are_encoded_some_at_a_time() -> None:
    """Few of those with large `params`, many of others."""

    async def turns(jobs: list[Job]) -> int:
        page, turns = JobPage(), 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for job in jobs:
            await page.add(JobView(job, job.counts))
        counting.cancel()
        assert [msgspec.json.decode(text)["id"] for text in page.jobs] == [job.id for job in jobs]
        return turns

    large = [a_job(f"j{n}", params={"x": "a" * (AT_ONCE_BYTES // 2)}) for n in range(8)]
    assert asyncio.run(turns([a_job(f"j{n}") for n in range(4 * AT_ONCE)])) >= 3
    assert asyncio.run(turns(large)) >= 3


LONG = b"a" * max(DECODED_BYTES_MAX, 2 * SLICE_BYTES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", False),
        (b" [1] ", True),
        (b"[1", False),
        (b'"%b"' % LONG, True),
        (b'"%b' % LONG, False),
        (b'["%b"] ' % LONG, True),
        (b'["%b"] 1' % LONG, False),
        (b'["%b",]' % LONG, False),
        (b'"%b\xff"' % LONG, False),
        (b'"%b\xc3"' % LONG, False),
        (b'"\xff%b"' % LONG, False),
        (b'"%b"' % ("é".encode() * SLICE_BYTES), True),
        (b"[" + b"7," * SLICE_BYTES + b"7]", True),
        (b"[" + b"7," * SLICE_BYTES + b"x]", False),
        (b'{"a":[' + b'{"b":[1,{"c":null}]},' * SLICE_BYTES + b"0]}", True),
    ],
)
def test_a_text_of_any_size_is_json_or_not(text: bytes, expected: bool) -> None:
    """All of it, and nothing after it."""
    assert asyncio.run(is_json(text)) is expected
