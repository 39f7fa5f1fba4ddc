"""Items go to a worker together though others stand between them, and each keeps its index."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.apart import RANGES_MAX, Range, cut_off, indexes, segments, take_out, together
from app.domain.engine import Chunk
from app.domain.item import Block, Segment
from app.domain.job import Counts, Options, Status
from app.domain.retry import Trouble
from app.domain.store import Note
from app.service.inspection import Inspection
from app.service.items import BlockReader
from app.stores.memory import MemoryStore
from bench.profile import fresh_marks
from tests.builders import a_job, a_line
from tests.simulation.fate import Item
from tests.simulation.loop import START
from tests.simulation.scheduled import Scheduled, scheduled
from workers.contract import Listener
from workers.slot import Slot

FIRST = 7
scattered = st.sets(st.integers(FIRST, FIRST + 60), min_size=1).map(sorted)


def ranges_of(items: Sequence[int]) -> list[Range]:
    """Of sorted indexes."""
    ends = [index + 1 for index, after in pairwise(items) if after != index + 1]
    starts = [after for index, after in pairwise(items) if after != index + 1]
    return list(zip([items[0], *starts], [*ends, items[-1] + 1], strict=True))


def a_chunk(items: Sequence[int]) -> Chunk:
    ranges = tuple(ranges_of(items))
    lines = b"1\n" * len(items)
    return Chunk(1, "t", b"{}", items[0], len(items), lines, ranges=ranges if len(ranges) > 1 else ())


@given(items=scattered, begin=st.integers(0, 60), count=st.integers(1, 60))
def test_places_are_those_of_the_items_in_order(items: list[int], begin: int, count: int) -> None:
    """Of one, of some in a row, and of none that the chunk has not."""
    chunk = a_chunk(items)
    some = items[begin : begin + count]

    assert [chunk.index(chunk.first + at) for at in range(len(items))] == items
    if some:
        place = chunk.first + begin
        assert list(indexes(chunk.among(place, place + len(some)))) == some
    assert [index for index in range(FIRST + 70) if index in chunk] == items


@given(items=scattered, failed=st.sets(st.integers(FIRST, FIRST + 60)), begin=st.integers(0, 60))
def test_results_are_parted_where_indexes_are(items: list[int], failed: set[int], begin: int) -> None:
    """Each part has its own failures and lines, and together they are what was reported."""
    chunk, told = a_chunk(items), items[begin:]
    failures = [index in failed for index in told]
    lines = [a_line(index, failed=bad) for index, bad in zip(told, failures, strict=True)]

    place = chunk.first + begin
    parts = list(segments(chunk, place, len(told), sum(failures), b"".join(lines), ["file"])) if told else []

    assert [(first, first + count) for first, count, *_ in parts] == (ranges_of(told) if told else [])
    assert b"".join(text for *_, text, _ in parts) == b"".join(lines)
    for first, count, bad, text, _ in parts:
        assert text == b"".join(
            a_line(index, failed=index in failed) for index in range(first, first + count)
        )
        assert bad == len(failed & set(range(first, first + count)))
    assert [files for *_, files in parts] == [["file"], *[()] * (len(parts) - 1)][: len(parts)]


@given(
    ranges=st.lists(st.tuples(st.integers(FIRST, FIRST + 80), st.integers(1, 9)), min_size=1, max_size=9),
    most=st.integers(1, 40),
    bytes_max=st.sampled_from([1, 30, 1 << 20]),
)
def test_lines_are_those_of_the_ranges(ranges: list[tuple[int, int]], most: int, bytes_max: int) -> None:
    """In their order, as far as they are in the block, and within both limits but for the first line."""
    block = Block(FIRST, 60, b"".join(b"%d\n" % index for index in range(FIRST, FIRST + 60)))
    reader = BlockReader(block)
    wanted = [(first, first + count) for first, count in ranges]
    wanted[0] = (min(wanted[0][0], block.stop - 1), wanted[0][1])
    wanted[0] = (wanted[0][0], max(wanted[0]) + 1)

    lines, taken = reader.take_some(iter(wanted), most, bytes_max, exactly=True)

    told = list(indexes(taken))
    assert lines == b"".join(b"%d\n" % index for index in told)
    assert told == list(indexes(wanted))[: len(told)]
    assert 1 <= len(told) <= most
    assert len(lines) <= bytes_max or len(told) == 1
    assert not any(stop == first for (_, stop), (first, _) in pairwise(taken)), "neighbours are one range"
    todo = deque(wanted)
    cut_off(todo, taken)
    assert list(indexes(todo)) == list(indexes(wanted))[len(told) :]


def test_only_so_many_ranges_go_together() -> None:
    """Each is a segment of the log."""
    count = 3 * RANGES_MAX
    reader = BlockReader(Block(0, count, b"1\n" * count))

    _, taken = reader.take_some([(at, at + 1) for at in range(0, count, 2)], count, 1 << 20, exactly=True)

    assert taken == tuple((at, at + 1) for at in range(0, 2 * RANGES_MAX, 2))


def test_what_only_failed_is_tried_again_with_what_failed_as_often() -> None:
    """And stands in the same block; the others stay where they wait."""
    again = deque([5, 9, 3, 8, 30, 1])
    troubles = {index: Trouble(attempts=1) for index in again} | {8: Trouble(attempts=2)}

    ranges = together(again, troubles, range(10), 3)
    assert ranges == [(3, 4), (5, 6), (9, 10)]

    take_out(again, ranges)
    assert list(again) == [8, 30, 1]


def test_what_has_ended_a_worker_is_tried_again_by_itself() -> None:
    """So does what is to have all memory."""
    for trouble in (Trouble(attempts=1, deaths=1), Trouble(alone=True)):
        assert together(deque([4, 5]), {4: trouble, 5: trouble}, range(10), 9) == [(4, 5)]


ITEMS = 2_000
CHUNKS_MAX = ITEMS // 3
LINE = b'{"index":%d,"output":%d}'


def half() -> list[Segment]:
    """Results of every other item."""
    return [
        Segment("half", index, 1, 0, at, 0, LINE % (index, index) + b"\n")
        for at, index in enumerate(range(0, ITEMS, 2))
    ]


def resumed(
    parts: Sequence[Segment], notes: Sequence[Note], item: Item, then: Callable[[Scheduled], Awaitable[None]]
) -> None:
    """A service starts with a job of such items that has these results and notes."""
    store = MemoryStore()

    async def fill() -> None:
        lines = b"".join(replace(item, n=index).line() + b"\n" for index in range(ITEMS))
        options = Options(max_attempts=2)
        job = a_job("half", total=ITEMS, task="work", created_at=START, options=options)
        await store.create_job(job, [Block(0, ITEMS, lines)])
        begun = replace(
            job, status=Status.RUNNING, started_at=START, counts=Counts(ITEMS, succeeded=len(parts))
        )
        await store.append_results(parts, [begun], {}, notes)

    asyncio.run(fill())
    scheduled(then, store)


def each_comes_to(line: bytes, ran: int) -> Callable[[Scheduled], Awaitable[None]]:
    """So many run, each of them once, in few chunks; and the results are these."""

    async def story(service: Scheduled) -> None:
        await service.end(*service.dispatcher.live.values())
        assert len({ran.index for ran in service.engine.ran}) == len(service.engine.ran) == ran
        assert service.engine.chunks <= CHUNKS_MAX
        for index in range(ITEMS):
            assert await service.store.read_result("half", index) == line % (index, index)

    return story


def test_what_a_crash_left_between_results_runs_in_few_chunks() -> None:
    """Every other item of a job has its result when the service starts."""
    resumed(half(), [], Item(0, "ok", ms=0.01), each_comes_to(LINE, ITEMS // 2))


def test_what_has_failed_once_is_tried_again_in_few_chunks() -> None:
    """Every item of a job had, when the service ended."""
    notes = [Note("half", index, 1, START, {"kind": "exception"}) for index in range(ITEMS)]

    again = LINE.replace(b"}", b',"attempts":2}')
    resumed([], notes, Item(0, "flaky", k=1, ms=0.01), each_comes_to(again, ITEMS))


def test_what_an_item_between_others_says_is_told_of_that_item() -> None:
    """What it printed, how far it is, and that it runs."""

    async def story(service: Scheduled) -> None:
        dispatcher = service.dispatcher
        await asyncio.sleep(0.2)
        chunks = [c for live in dispatcher.live.values() for c in live.chunks.values() if c.ranges]
        chunk, inspection = chunks[0], Inspection(service.store, dispatcher, service.engine)
        place, index = chunk.stop - 1, chunk.ranges[-1][0]
        dispatcher.printed(chunk.id, place, "said")
        dispatcher.progress(chunk.id, place, 0.5, "half")

        runs, done = await inspection.item("half", index), await inspection.item("half", index - 1)
        assert (runs.status, runs.progress, done.status) == ("running", (0.5, "half"), "done")
        await service.end(*dispatcher.live.values())
        assert [(note.index, note.log) for note in await service.store.notes("half")] == [(index, "said")]

    resumed(half(), [], Item(0, "ok", ms=10.0), story)


def test_who_looks_at_a_worker_sees_the_index_of_its_item() -> None:
    """Though it is marked by its place."""
    marks = fresh_marks()
    slot = Slot(0, marks, cast("Listener", None), now=0.0)
    chunk = a_chunk([3, 8, 9])
    slot.give(chunk, 0.0)
    marks.mark.value = (chunk.id << 32) + 2

    assert slot.item == 8
