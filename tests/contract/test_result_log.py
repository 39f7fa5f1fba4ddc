"""What every store promises of the result log: one suite, and a list of lines as the oracle."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.clock import new_id
from app.domain.errors import ServiceError
from app.domain.item import Outcome, Page, Segment, View
from app.domain.job import Counts, Status
from app.domain.store import JobStore
from tests.builders import NOON, Log, a_block, a_job, a_line
from tests.contract.conftest import Run

VIEWS = [
    View(order, outcome) for order in ("completion", "index") for outcome in (None, "succeeded", "failed")
]
EVERYTHING = {"lines_max": 10_000, "bytes_max": 1 << 20}


def expected(log: Log, view: View, *, settled: bool) -> list[bytes]:
    """The lines of a view, by its definition."""
    lines = log.lines
    if view.order == "index":
        lines = sorted(lines)
        if not settled:
            lines = [line for place, line in enumerate(lines) if line[0] == place]
    return [line for _, failed, line in lines if view.outcome in (None, "failed" if failed else "succeeded")]


def first_page(lines: Sequence[bytes], after: int, lines_max: int, bytes_max: int) -> Page:
    """As many lines as fit, but one in any case."""
    page: list[bytes] = []
    for line in lines[after : after + lines_max]:
        if page and sum(map(len, page)) + len(line) > bytes_max:
            break
        page.append(line)
    return Page(b"".join(page), after, len(page))


@dataclass(frozen=True)
class Layout:
    """Which items finished together, in which order, and how."""

    segments: list[tuple[int, list[bool], list[int]]]
    """(first index, failures, sizes of the lines)"""
    batches: list[int]
    """How many segments each append brings."""


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Some of up to 40 items, cut into segments, which come in any order."""
    fates = draw(st.lists(st.sampled_from(["succeeded", "failed", "missing"]), max_size=40))
    joints = draw(st.lists(st.booleans(), min_size=len(fates), max_size=len(fates)))
    sizes = draw(st.lists(st.integers(0, 60), min_size=len(fates), max_size=len(fates)))
    piece = count()
    number = 0
    pieces = []
    for index, (fate, joint) in enumerate(zip(fates, joints, strict=True)):
        number = next(piece) if joint or fate == "missing" else number
        pieces.append((number if fate != "missing" else -1, index))
    segments = []
    for which, group in groupby(pieces, key=lambda entry: entry[0]):
        if which != -1:
            indexes = [index for _, index in group]
            segments.append(
                (indexes[0], [fates[i] == "failed" for i in indexes], [sizes[i] for i in indexes])
            )
    return Layout(draw(st.permutations(segments)), draw(st.lists(st.integers(1, 5), max_size=8)))


def appended(store: JobStore, run: Run, job_id: str, layout: Layout) -> Log:
    """A job's log with these segments, a batch a call."""
    run(store.create_job(a_job(job_id, total=40), [a_block(0, 40)]))
    log = Log(job_id)
    waiting = [log.segment(*segment) for segment in layout.segments]
    for size in layout.batches:
        run(store.append_results(waiting[:size], [], {}))
        waiting = waiting[size:]
    run(store.append_results(waiting, [], {}))
    return log


places = st.tuples(st.integers(0, 45), st.integers(1, 45), st.integers(1, 4000))
"""(cursor, lines_max, bytes_max)"""


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts(), look=st.lists(places, min_size=4, max_size=4))
def test_every_page_of_every_view_is_a_slice_of_its_lines(
    store: JobStore, run: Run, layout: Layout, look: list[tuple[int, int, int]]
) -> None:
    """From any cursor: as many lines as fit both limits, at least one, no other byte, settled or not."""
    job_id = new_id(NOON)
    log = appended(store, run, job_id, layout)

    for view in VIEWS:
        for settled in (False, True):
            lines = expected(log, view, settled=settled)
            for after, lines_max, bytes_max in [*look, (0, 10_000, 1 << 20)]:
                page = run(
                    store.read_results(
                        job_id, view, after, lines_max=lines_max, bytes_max=bytes_max, settled=settled
                    )
                )
                assert page == first_page(lines, after, lines_max, bytes_max)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts(), lines_max=st.integers(1, 20), bytes_max=st.integers(1, 1000))
def test_page_after_page_reads_every_line_once(
    store: JobStore, run: Run, layout: Layout, lines_max: int, bytes_max: int
) -> None:
    """Whatever the limits; the page after the last is empty."""
    job_id = new_id(NOON)
    log = appended(store, run, job_id, layout)

    for view in VIEWS:
        read, after = b"", 0
        while (
            page := run(
                store.read_results(
                    job_id, view, after, lines_max=lines_max, bytes_max=bytes_max, settled=True
                )
            )
        ).count:
            read, after = read + page.lines, page.next_after
        assert read == b"".join(expected(log, view, settled=True))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_done_ranges_are_those_of_the_segments(store: JobStore, run: Run, layout: Layout) -> None:
    """By first index, whatever order they came in."""
    job_id = new_id(NOON)
    appended(store, run, job_id, layout)

    assert run(store.done_ranges(job_id)) == sorted(
        (first, len(failures)) for first, failures, _ in layout.segments
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_what_was_read_stays_as_it_was(store: JobStore, run: Run, layout: Layout) -> None:
    """The lines 1…N of every view are the same bytes after each append: the count is a stable cursor."""
    job_id = new_id(NOON)
    run(store.create_job(a_job(job_id, total=40), [a_block(0, 40)]))
    log = Log(job_id)
    before = dict.fromkeys(VIEWS, b"")
    for segment in layout.segments:
        run(store.append_results([log.segment(*segment)], [], {}))
        for view in VIEWS:
            page = run(store.read_results(job_id, view, 0, settled=False, **EVERYTHING))
            assert page.lines.startswith(before[view])
            before[view] = page.lines


@pytest.mark.parametrize("cut", [(3,), (1, 2), (1, 1, 1)])
def test_a_limit_that_is_just_met_is_met(store: JobStore, run: Run, cut: tuple[int, ...]) -> None:
    """To the byte, however the lines are cut into segments."""
    run(store.create_job(a_job(), [a_block()]))
    log = Log()
    for size in cut:
        run(store.append_results([log.segment(len(log.lines), [False] * size)], [], {}))
    two = len(a_line(0)) + len(a_line(1))

    for bytes_max, lines in ((two - 1, 1), (two, 2), (two + 1, 2)):
        page = run(store.read_results("j", View(), 0, lines_max=9, bytes_max=bytes_max, settled=False))
        assert page.count == lines


def test_by_index_a_line_waits_for_those_before_it(store: JobStore, run: Run) -> None:
    """Until the job is settled; then what is missing will never come."""
    run(store.create_job(a_job(total=4), [a_block(0, 4)]))
    log = Log()
    run(store.append_results([log.segment(3, [True]), log.segment(0, [False])], [], {}))
    by_index = View("index")

    page = run(store.read_results("j", by_index, 0, settled=False, **EVERYTHING))
    assert page == Page(a_line(0), 0, 1)
    page = run(store.read_results("j", by_index, 0, settled=True, **EVERYTHING))
    assert page == Page(a_line(0) + a_line(3, failed=True), 0, 2)
    run(store.append_results([log.segment(1, [False, False])], [], {}))
    page = run(store.read_results("j", by_index, 1, settled=False, **EVERYTHING))
    assert page == Page(a_line(1) + a_line(2) + a_line(3, failed=True), 1, 3)


def test_results_and_counts_are_one_change(store: JobStore, run: Run) -> None:
    """The jobs' states come with the segments, of several jobs at once."""
    logs = [Log("a"), Log("b")]
    for log in logs:
        run(store.create_job(a_job(log.job_id), [a_block()]))
    segments = [log.segment(0, [False, True]) for log in logs]
    jobs = [
        a_job(log.job_id, status=Status.RUNNING, counts=Counts(3, running=1, **log.counts)) for log in logs
    ]

    run(store.append_results(segments, jobs, {"a": ["file"]}))

    for log in logs:
        stored = run(store.get_job(log.job_id))
        assert stored == a_job(log.job_id, status=Status.RUNNING, counts=Counts(3, **log.counts))
        assert run(store.done_ranges(log.job_id)) == [(0, 2)]


def test_a_job_may_change_without_results(store: JobStore, run: Run) -> None:
    """A status alone is written the same way."""
    run(store.create_job(a_job(), [a_block()]))

    run(store.append_results([], [a_job(status=Status.CANCELLING)], {}))

    assert run(store.get_job("j")) == a_job(status=Status.CANCELLING)


def test_an_item_has_one_result(store: JobStore, run: Run) -> None:
    """A segment that is there already is refused, and with it everything that came in the same call."""
    run(store.create_job(a_job(total=9), [a_block(0, 9)]))
    log = Log()
    old = log.segment(3, [False, True])
    run(store.append_results([old], [], {}))
    new = log.segment(0, [False])

    with pytest.raises(ServiceError):
        run(store.append_results([new, again(old)], [a_job(status=Status.RUNNING)], {"j": ["file"]}))

    assert run(store.done_ranges("j")) == [(3, 2)]
    assert run(store.get_job("j")) == a_job(total=9)
    page = run(store.read_results("j", View(), 0, settled=False, **EVERYTHING))
    assert page == Page(old.lines, 0, 2)
    run(store.delete_file("file"))  # nobody names it
    run(store.append_results([new], [], {}))
    assert run(store.done_ranges("j")) == [(0, 1), (3, 2)]


def again(segment: Segment) -> Segment:
    """The same results, told once more behind those."""
    log = Log(segment.job_id)
    log.segment(segment.first, [False] * 3)
    return log.segment(segment.first, [False, True])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts(), after=st.integers(0, 45), offset=st.integers(0, 3000))
def test_every_byte_of_every_view_has_its_place(
    store: JobStore, run: Run, layout: Layout, after: int, offset: int
) -> None:
    """The size of what is after any cursor; and a reading from the place on, less what is to be skipped."""
    job_id = new_id(NOON)
    log = appended(store, run, job_id, layout)

    for view in VIEWS:
        rest = b"".join(expected(log, view, settled=True)[after:])
        extent = run(store.extent(job_id, view, after, offset))
        assert extent.size_bytes == len(rest)
        if offset < len(rest):
            page = run(store.read_results(job_id, view, extent.after, **EVERYTHING, settled=True))
            assert page.lines[extent.skip_bytes :] == rest[offset:]


def test_a_job_that_is_gone_has_no_extent(store: JobStore, run: Run) -> None:
    """Nothing, rather than an error: whoever reads on learns that it is gone."""
    assert run(store.extent("j", View(), 0, 0)).size_bytes == 0


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(), index=st.integers(0, 45), ranges_max=st.integers(1, 5), bytes_max=st.integers(1, 300)
)
def test_segments_are_read_by_index_from_any_item_on(
    store: JobStore, run: Run, layout: Layout, index: int, ranges_max: int, bytes_max: int
) -> None:
    """Those that end behind it; with an outcome, only those that have it; a page at a time."""
    job_id = new_id(NOON)
    log = appended(store, run, job_id, layout)
    segments = {first: len(failures) for first, failures, _ in layout.segments}
    ranges = sorted(entry for entry in segments.items() if sum(entry) > index)

    assert run(store.done_ranges(job_id, index)) == ranges
    assert run(store.done_ranges(job_id, index, ranges_max)) == ranges[:ranges_max]
    for failed in (False, True):
        read: list[Segment] = []
        outcome: Outcome = "failed" if failed else "succeeded"
        start = index
        while page := run(store.segments_from(job_id, start, outcome, bytes_max=bytes_max)):
            assert len(page) == 1 or sum(len(segment.lines) for segment in page) <= bytes_max
            read += page
            start = page[-1].first + page[-1].count
        having = {place for place, wrong, _ in log.lines if wrong == failed}
        due = [range_ for range_ in ranges if having & set(range(range_[0], sum(range_)))]
        assert [(segment.first, segment.count) for segment in read] == due
        lines = {place: line for place, _, line in log.lines}
        assert b"".join(segment.lines for segment in read) == b"".join(
            lines[first + n] for first, count_ in due for n in range(count_)
        )
