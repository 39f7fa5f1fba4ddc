"""The items of a job again, whatever became of which, and wherever its log and its items were cut."""

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain.errors import Conflict
from app.domain.flags import ended, in_group, meant, runs
from app.domain.groups import group_of_line
from app.domain.item import Block, Segment
from app.domain.job import Counts, Job, Status
from app.service import inputs as module
from app.service import retry as retrying
from app.service.admission import Limits
from app.service.inputs import FLAGS_PER_TAKE, Inputs, Select, Selection
from app.service.intake import BLOCK_BYTES
from app.service.jobs import Jobs
from app.service.retry import retry
from app.stores.memory import MemoryStore
from tests.builders import NOON, a_job
from tests.simulation.loop import START
from tests.simulation.scheduled import Scheduled, scheduled

KEYS = st.sampled_from([None, None, 7, -1.5, "a", '","error":{', '","output":', "k" * 5_000]).map(
    lambda key: b"" if key is None else msgspec.json.encode(key)
)
FATES = st.lists(
    st.tuples(
        st.sampled_from("sf."),
        st.sampled_from([1, 1, 1, 2, 3, FLAGS_PER_TAKE, FLAGS_PER_TAKE + 1, 3 * FLAGS_PER_TAKE]),
    ),
    max_size=40,
).map(lambda stretches: [fate for fate, number in stretches for _ in range(number)])
"""How each item ended, with `.` for those without a result: stretches that are taken together, or are too far apart."""
CUTS = st.lists(st.sampled_from([1, 2, 7, 40, 500]), min_size=1, max_size=20)
"""Of how many items or results what is stored consists, time and again."""


def _item(index: int) -> bytes:
    """What comes back as it was: it may begin with what marks the beginning of a text, or have a carriage return."""
    return (b"%d\n", b"\xef\xbb\xbf%d\n", b' {"x":\r%d}\n')[index % 3] % index


def _result(index: int, fate: str, key: bytes) -> bytes:
    told = msgspec.json.encode('","error":' * (index % 3))
    outcome = (b'"error":{"kind":"exception","message":%b}' if fate == "f" else b'"output":%b') % told
    return b'{"index":%d,%b%b}\n' % (index, b'"key":%b,' % key if key else b"", outcome)


def _cut(first: int, stop: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """The range in parts of so many."""
    places = [first]
    while places[-1] < stop:
        places.append(min(stop, places[-1] + cuts[len(places) % len(cuts)]))
    return list(pairwise(places))


def _blocks(total: int, cuts: Sequence[int]) -> list[Block]:
    return [Block(a, b - a, b"".join(map(_item, range(a, b)))) for a, b in _cut(0, total, cuts)]


def _segments(fates: Sequence[str], keys: Sequence[bytes], cuts: Sequence[int]) -> list[Segment]:
    segments: list[Segment] = []
    done = failed = start = 0
    for stop in [index for index in range(len(fates) + 1) if index == len(fates) or fates[index] == "."]:
        for a, b in _cut(start, stop, cuts):
            lines = [_result(index, fates[index], keys[index % len(keys)]) for index in range(a, b)]
            failures = fates[a:b].count("f")
            segments.append(Segment("j", a, b - a, failures, done, failed, b"".join(lines)))
            done, failed = done + b - a, failed + failures
        start = stop + 1
    return segments


async def _finished(
    store: MemoryStore, fates: Sequence[str], blocks: Sequence[Block], segments: Sequence[Segment]
) -> Job:
    """The job `j`, these items of which came to these ends."""
    job = a_job(total=len(fates), task="work", created_at=START)
    await store.create_job(job, blocks)
    done = {
        "succeeded": fates.count("succeeded"),
        "failed": fates.count("failed"),
        "cancelled": fates.count(None),
    }
    status = Status.CANCELLED if "." in fates else Status.COMPLETED
    job = replace(job, status=status, counts=Counts(len(fates), **done), started_at=NOON, ended_at=NOON)
    await store.append_results(segments, [job], {})
    return job


def _meant(fates: Sequence[str], select: str) -> list[bytes]:
    """The items that are, as the rule says it."""
    wanted = {"all": "sf.", "succeeded": "s", "failed": "f"}.get(select, ".")
    return [_item(index) for index, fate in enumerate(fates) if fate in wanted]


SIZES = st.fixed_dictionaries(
    {
        name: st.sampled_from([getattr(module, name), 90, 1])
        for name in ("PAGE_BYTES", "STRIP_BYTES", "PAGE_RANGES", "FLAGS_MAX", "PIECE_BYTES")
    }
)
"""Of pages and the like: as they are, or so small that there are many."""
AS_THEY_ARE: dict[str, int] = {}
IN_PIECES = {"PIECE_BYTES": 90}
FAR = 3 * FLAGS_PER_TAKE


@given(fates=FATES, keys=st.lists(KEYS, min_size=1, max_size=5), blocks=CUTS, segments=CUTS, sizes=SIZES)
@example([*"sff", *"sf" * 40, *"s" * 9, *"sf" * 40], [b""], [7], [40, 9, 40], AS_THEY_ARE)
@example([*"s" * 45, *"ff", *"s" * FAR, *"f", *"s" * FAR, *"ff"], [b""], [40], [500, 40], AS_THEY_ARE)
@example(
    [*"s" * 7, *"f.f..ff.s", *"." * FAR, *"f.f", *"s" * FAR, *"ff"], [b"7", b""], [2, 40], [500], IN_PIECES
)
def test_exactly_the_selected_items_are_given_and_run_again(
    fates: list[str], keys: list[bytes], blocks: list[int], segments: list[int], sizes: dict[str, int]
) -> None:
    """In their order, byte by byte; and the new job has as many as it says."""
    given: dict[str, bytes] = {}
    again: dict[str, tuple[int, bytes]] = {}

    async def story(service: Scheduled) -> None:
        service.dispatcher.paused_pools.add("cpu")
        store = service.store
        job = await _finished(store, fates, _blocks(len(fates), blocks), _segments(fates, keys, segments))
        jobs = Jobs(store, service.dispatcher, service.engine, service.clock, Limits(10, 1_000_000))
        inputs = Inputs(store, jobs)
        for select in get_args(Select):
            given[select] = b"".join([piece async for piece in inputs.lines(job, Selection(select))])
            if select in ("failed", "unfinished") and _meant(fates, select):
                new = (await retry(jobs, inputs, "j", Selection(select), None)).job_id
                total = (await jobs.get(new)).job.counts.total
                again[select] = total, await _items(store, new, total)
            elif select in ("failed", "unfinished"):
                with pytest.raises(Conflict):
                    await retry(jobs, inputs, "j", Selection(select), None)

    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(module, name, size)
        patch.setattr(retrying, "BLOCK_BYTES", sizes.get("PIECE_BYTES", BLOCK_BYTES))
        scheduled(story)

    for select in get_args(Select):
        items = _meant(fates, select)
        assert given[select] == b"".join(items)
        if select in again:
            assert again[select] == (len(items), b"".join(items))


async def _items(store: MemoryStore, job_id: str, total: int) -> bytes:
    """As they are stored, each block where it says it is."""
    lines, index = b"", 0
    while index < total:
        block = await store.read_block(job_id, index)
        assert block is not None
        assert (block.first, block.lines.count(b"\n")) == (index, block.count)
        lines, index = lines + block.lines, block.stop
    return lines


@given(
    first=st.sampled_from([0, 5, 95, 999, 99_990]),
    results=st.lists(st.tuples(st.booleans(), KEYS), max_size=30),
    wanted=st.sampled_from(["failed", "succeeded"]),
)
def test_how_items_ended_is_told_by_their_lines(
    first: int, results: list[tuple[bool, bytes]], wanted: str
) -> None:
    """However many digits their indexes have, and whatever their keys say."""
    lines = [_result(index, "f" if bad else "s", key) for index, (bad, key) in enumerate(results, first)]

    assert ended(b"".join(lines), wanted) == bytes(bad == (wanted == "failed") for bad, _ in results)  # type: ignore[arg-type]


@given(first=st.integers(0, 2_000), failed=st.sets(st.integers(0, 499), max_size=12), key=KEYS)
def test_a_few_failures_among_many_results_are_found(first: int, failed: set[int], key: bytes) -> None:
    """Also where the output of another looks like one; and so are those that succeeded."""
    lines = [_result(index + first, "f" if index in failed else "s", key) for index in range(500)]
    for index in {3, 300} - failed:
        lines[index] = b'{"index":%d,"output":{"error":{}}}\n' % (index + first)

    flags = bytes(index in failed for index in range(500))
    assert ended(b"".join(lines), "failed") == flags
    assert ended(b"".join(lines), "succeeded") == bytes(not flag for flag in flags)


def test_failures_of_a_group_are_told_from_others() -> None:
    """And from what succeeded."""
    line = b'{"index":%d,"error":{"kind":"exception","type":"%b","message":"m"}}\n'
    one, other = line % (0, b"A"), line % (2, b"B")
    lines = one + b'{"index":1,"output":1}\n' + other

    assert in_group(lines, group_of_line(one).id) == bytes([1, 0, 0])
    assert in_group(lines, group_of_line(other).id) == bytes([0, 0, 1])


@given(st.lists(st.tuples(st.sampled_from([b"\n", b"1\n", b"\r2 \n"]), st.booleans()), max_size=12))
def test_lines_that_are_meant_are_told_by_a_byte_for_each(lines: list[tuple[bytes, bool]]) -> None:
    """And so are their ranges, none of which touch."""
    flags = bytes(wanted for _, wanted in lines)
    ranges = list(runs(flags))

    assert meant(b"".join(line for line, _ in lines), flags) == b"".join(
        line for line, wanted in lines if wanted
    )
    indexes = [index for first, stop in ranges for index in range(first, stop)]
    assert indexes == [index for index, (_, wanted) in enumerate(lines) if wanted]
    assert all(stop < first for (_, stop), (first, _) in pairwise(ranges))
