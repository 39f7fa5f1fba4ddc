"""A slot's answers to what happens to its worker; every sequence of events is tried in `test_slot_machine`."""

import json
import mmap
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.domain.engine import Chunk
from workers.slot import START_SECONDS_MAX, Exit, Reason, Slot
from workers.wire import NO_LIMIT, SLOT_BYTES, Frame, Kind, Marks

NOW = 1000.0
KILLED = Exit(-signal.SIGKILL)


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        self.events.append(("part", chunk_id, first, count, failed, lines, list(files)))

    def unlucky(self, chunk_id: int, index: int, error: Mapping[str, Any]) -> None:
        self.events.append(("unlucky", chunk_id, index, error))

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        self.events.append(("ended", chunk_id, stop, seconds))

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        self.events.append(("lost", chunk_id, first, culprit, error))

    def room(self) -> None:
        raise AssertionError("a slot does not know of room")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def marks() -> Marks:
    marks = Marks(mmap.mmap(-1, 8 * SLOT_BYTES), 3)
    marks.clear()
    return marks


@pytest.fixture
def slot(marks: Marks, heard: Heard) -> Slot:
    return Slot(3, marks, heard, now=NOW)


def a_chunk(chunk_id: int = 7, first: int = 100, count: int = 4, **members: Any) -> Chunk:
    lines = b"".join(b"%d\n" % index for index in range(first, first + count))
    return Chunk(chunk_id, "sqrt", b'{"a":1}', first, count, lines, **members)


def mark(chunk: Chunk, index: int) -> int:
    """What a worker writes when it starts an item."""
    return chunk.id << 32 | index - chunk.first + 1


def part(first: int, count: int, failed: int = 0, header: bytes = b"") -> Frame:
    return Frame(Kind.PART, header + b"\nlines", 7, first, count, failed)


DONE = Frame(Kind.DONE, b"", 7)


def test_a_chunk_travels_with_all_that_running_it_takes(slot: Slot, marks: Marks) -> None:
    """A header of JSON, then the item lines as they are; its limit word says that every item may start."""
    marks.limits[1].value = 0
    chunk = a_chunk(attempt=2, max_attempts=3, key_field="id", timeout_seconds=5.0)

    frame = slot.give(chunk, NOW)

    header, _, lines = frame.body.partition(b"\n")
    assert (frame.kind, frame.chunk_id, frame.first, frame.count) == (Kind.CHUNK, 7, 100, 4)
    assert lines == b"100\n101\n102\n103\n"
    order = json.loads(header)
    assert order == {
        "task": "sqrt", "params": '{"a":1}', "attempt": 2, "max_attempts": 3, "key_field": "id", "limit": 1
    }  # fmt: skip
    assert marks.limits[1].value == NO_LIMIT


def test_two_chunks_have_different_limit_words(slot: Slot, marks: Marks) -> None:
    """So each can be recalled without the other."""
    limits = [
        json.loads(slot.give(a_chunk(number), NOW).body.partition(b"\n")[0])["limit"] for number in (1, 2)
    ]

    assert sorted(limits) == [0, 1]
    assert slot.recall(2, NOW, 1.0)
    assert [marks.limits[limit].value for limit in limits] == [NO_LIMIT, 0]


def test_results_are_told_as_they_come(slot: Slot, heard: Heard) -> None:
    """With the files they name; the end tells where it ended and how long it took."""
    slot.give(a_chunk(), NOW)
    slot.received(part(100, 2, 1, b'["sha256-1"]'), NOW + 1)
    slot.received(Frame(Kind.UNLUCKY, b'{"kind":"exception"}', 7, 102), NOW + 2)
    slot.received(part(103, 1), NOW + 2)
    slot.received(DONE, NOW + 3)

    assert heard.events == [
        ("part", 7, 100, 2, 1, b"lines", ["sha256-1"]),
        ("unlucky", 7, 102, {"kind": "exception"}),
        ("part", 7, 103, 1, 0, b"lines", []),
        ("ended", 7, 104, 3.0),
    ]
    assert slot.items_done == 3
    assert slot.chunks == 0


def test_a_second_chunk_is_timed_from_the_end_of_the_first(slot: Slot, heard: Heard) -> None:
    """It was given early, but its worker had other things to do."""
    slot.give(a_chunk(7), NOW)
    slot.give(a_chunk(8, 200), NOW)
    slot.received(part(100, 4), NOW + 5)
    slot.received(DONE, NOW + 5)
    slot.received(Frame(Kind.PART, b"\nlines", 8, 200, 4), NOW + 6)
    slot.received(Frame(Kind.DONE, b"", 8), NOW + 6)

    assert [event[-1] for event in heard.events if event[0] == "ended"] == [5.0, 1.0]


def test_only_what_a_worker_sends_is_taken_from_it(slot: Slot) -> None:
    """Anything else is a mistake of ours."""
    slot.give(a_chunk(), NOW)

    with pytest.raises(AssertionError, match="CHUNK"):
        slot.received(Frame(Kind.CHUNK), NOW)


# -- Deaths


@pytest.mark.parametrize(
    ("exit_", "error"),
    [
        (Exit(-signal.SIGSEGV), {"message": "the worker process was ended by SIGSEGV", "signal": "SIGSEGV"}),
        (Exit(-40), {"message": "the worker process was ended by signal 40", "signal": "signal 40"}),
        (Exit(0), {"message": "the worker process exited with status 0", "exit_code": 0}),
        (Exit(7), {"message": "the worker process exited with status 7", "exit_code": 7}),
        (Exit(None), {"message": "the worker process ended, and nobody was left to see how"}),
    ],
)
def test_a_crash_says_how_the_process_ended(
    slot: Slot, marks: Marks, heard: Heard, exit_: Exit, error: dict[str, Any]
) -> None:
    """In words, and as data; only the marked item is charged."""
    chunk = a_chunk()
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 102)

    slot.died(exit_)

    assert heard.events == [("lost", 7, 100, 102, {"kind": "crashed", "type": "WorkerDied"} | error)]
    assert slot.chunks == 0


def test_an_item_whose_result_came_is_not_to_blame(slot: Slot, marks: Marks, heard: Heard) -> None:
    """Its mark stands until the next begins; what kills the worker in between is not its doing."""
    chunk = a_chunk()
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 101)
    slot.received(part(100, 2), NOW)

    slot.died(KILLED)

    assert heard.events[-1] == ("lost", 7, 102, None, {})


def test_of_two_chunks_only_the_marked_one_has_a_culprit(slot: Slot, marks: Marks, heard: Heard) -> None:
    """The other is left over as a whole."""
    chunks = [a_chunk(7), a_chunk(8, 200)]
    for chunk in chunks:
        slot.give(chunk, NOW)
    marks.mark.value = mark(chunks[0], 103)

    slot.died(KILLED)

    assert [event[:4] for event in heard.events] == [("lost", 7, 100, 103), ("lost", 8, 200, None)]


def test_a_worker_that_was_stopped_blames_nobody(slot: Slot, marks: Marks, heard: Heard) -> None:
    """The service ends, or the zygote did: what ran runs again."""
    chunk = a_chunk()
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 100)
    slot.kill_reason = Reason.STOPPED

    slot.died(KILLED)

    assert heard.events == [("lost", 7, 100, None, {})]


def test_an_idle_worker_dies_in_silence(slot: Slot, marks: Marks, heard: Heard) -> None:
    """There is nobody to tell, whatever mark it left."""
    marks.mark.value = mark(a_chunk(), 100)

    slot.died(KILLED)

    assert heard.events == []


# -- Time limits


def test_an_item_is_overdue_at_its_limit_and_not_before(slot: Slot, marks: Marks, heard: Heard) -> None:
    """Its time counts from when it was first seen to run."""
    chunk = a_chunk(timeout_seconds=2.0)
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 100)
    assert slot.overdue(NOW + 1) is None
    marks.mark.value = mark(chunk, 101)
    assert slot.overdue(NOW + 2.5) is None
    assert slot.overdue(NOW + 4.4) is None
    assert slot.overdue(NOW + 4.5) is Reason.TIMEOUT

    slot.kill_reason = Reason.TIMEOUT
    assert slot.overdue(NOW + 9) is None
    slot.died(KILLED)

    error = {"kind": "timeout", "type": "TimeoutError", "message": "took longer than 2 s"}
    assert heard.events == [("lost", 7, 100, 101, error)]


def test_sending_results_is_nobodys_time(slot: Slot, marks: Marks) -> None:
    """A slow reader of ours is not the item's fault."""
    chunk = a_chunk(timeout_seconds=2.0)
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 100)
    slot.overdue(NOW)
    marks.sending.value = 1

    assert slot.overdue(NOW + 99) is None
    marks.sending.value = 0
    assert slot.overdue(NOW + 100.9) is None
    assert slot.overdue(NOW + 101) is Reason.TIMEOUT


def test_an_item_that_begins_while_the_kill_is_on_its_way_is_not_to_blame(
    slot: Slot, marks: Marks, heard: Heard
) -> None:
    """The one that was overdue ended after all; the next had hardly begun."""
    chunk = a_chunk(timeout_seconds=2.0)
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 100)
    slot.overdue(NOW)
    slot.kill_reason = slot.overdue(NOW + 2)
    marks.mark.value = mark(chunk, 101)

    slot.died(KILLED)

    assert slot.kill_reason is Reason.TIMEOUT
    assert heard.events == [("lost", 7, 100, None, {})]


def test_another_jobs_item_does_not_pay_for_a_cancelled_one(slot: Slot, marks: Marks, heard: Heard) -> None:
    """The recalled item ended just before the kill, and the chunk behind it began."""
    chunks = [a_chunk(7), a_chunk(8, 200)]
    for chunk in chunks:
        slot.give(chunk, NOW)
    marks.mark.value = mark(chunks[0], 100)
    slot.recall(7, NOW, 1.0)
    slot.kill_reason = slot.overdue(NOW + 1)
    slot.received(part(100, 1), NOW + 1)
    slot.received(DONE, NOW + 1)
    marks.mark.value = mark(chunks[1], 200)

    slot.died(KILLED)

    assert slot.kill_reason is Reason.CANCELLED
    assert heard.events[-2:] == [("ended", 7, 101, 1.0), ("lost", 8, 200, None, {})]


def test_a_limit_is_that_of_the_item_that_runs(slot: Slot, marks: Marks) -> None:
    """Also while the end of the chunk before it has not been read yet."""
    chunks = [a_chunk(7, timeout_seconds=1.0), a_chunk(8, 200, timeout_seconds=None)]
    for chunk in chunks:
        slot.give(chunk, NOW)
    marks.mark.value = mark(chunks[1], 200)
    slot.overdue(NOW)

    assert slot.overdue(NOW + 99) is None


def test_a_worker_that_starts_nothing_is_given_time(slot: Slot, marks: Marks, heard: Heard) -> None:
    """A process may take longer to start than an item may run; when it is killed no item is to blame."""
    slot.give(a_chunk(timeout_seconds=0.01), NOW)

    assert slot.overdue(NOW + START_SECONDS_MAX - 0.1) is None
    slot.kill_reason = slot.overdue(NOW + START_SECONDS_MAX)
    slot.died(KILLED)

    assert slot.kill_reason is Reason.TIMEOUT
    assert heard.events == [("lost", 7, 100, None, {})]


def test_an_idle_worker_is_never_overdue(slot: Slot, marks: Marks) -> None:
    """However long nothing happens."""
    chunk = a_chunk(timeout_seconds=1.0)
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 103)
    slot.received(part(100, 4), NOW)
    slot.received(DONE, NOW)

    assert slot.overdue(NOW + 1e6) is None


# -- Recall


def test_a_recalled_chunk_starts_nothing_and_ends_after_its_grace(
    slot: Slot, marks: Marks, heard: Heard
) -> None:
    """The item that runs has until then; its error says that it was cancelled."""
    chunk = a_chunk()
    slot.give(chunk, NOW)
    marks.mark.value = mark(chunk, 101)

    assert slot.recall(7, NOW, grace_seconds=2.0)
    assert marks.limits[1].value == 0
    assert slot.overdue(NOW + 1.9) is None
    slot.kill_reason = slot.overdue(NOW + 2)
    slot.died(KILLED)

    error = {"kind": "cancelled", "type": "Cancelled", "message": "the job was cancelled"}
    assert heard.events == [("lost", 7, 100, 101, error)]


def test_a_chunk_that_is_gone_is_not_recalled(slot: Slot) -> None:
    """It is harmless to ask."""
    slot.give(a_chunk(), NOW)
    slot.received(part(100, 4), NOW)
    slot.received(DONE, NOW)

    assert not slot.recall(7, NOW, 1.0)


def test_a_slot_shows_the_item_that_runs(slot: Slot, marks: Marks) -> None:
    """None when there is none, or the mark is of a chunk that ended."""
    chunk = a_chunk()
    assert slot.item is None
    slot.give(chunk, NOW)
    assert slot.item is None
    marks.mark.value = mark(chunk, 102)
    assert slot.item == 102
    marks.mark.value = mark(a_chunk(6), 100)
    assert slot.item is None
    assert slot.current == chunk


def test_only_short_chunks_let_another_behind_them(slot: Slot) -> None:
    """One that takes long would make the other wait."""
    assert slot.only_short
    slot.give(a_chunk(short=True), NOW)
    assert slot.only_short
    slot.give(a_chunk(8, short=False), NOW)
    assert not slot.only_short
