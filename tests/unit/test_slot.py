"""What a slot answers when the pool asks how things stand with its worker."""

from typing import Any

import pytest

from tests.unit.test_taking_back import Supervised
from workers.postmortem import Reason
from workers.slot import START_SECONDS_MAX, Action
from workers.wire import NO_LIMIT, Frame, Kind, ProtocolError

COROUTINE: dict[str, Any] = {"concurrency": 3}


@pytest.fixture
def supervised() -> Supervised:
    return Supervised()


@pytest.mark.parametrize(
    ("chunks", "cancelled", "whether"),
    [
        ([], [], False),
        ([{}, {}], [], False),
        ([{}, {}], [1], True),  # what only waits behind it can go elsewhere
        ([{}, {}], [2], False),
        ([COROUTINE, COROUTINE], [1], False),
        ([COROUTINE, COROUTINE], [2], False),
        ([COROUTINE, COROUTINE], [1, 2], True),
    ],
)
def test_a_worker_may_be_killed_if_all_that_it_runs_is_cancelled(
    supervised: Supervised, chunks: list[dict[str, Any]], cancelled: list[int], whether: bool
) -> None:
    """Which of a worker's chunks run is the first, and all that run side by side."""
    for number, options in enumerate(chunks, start=1):
        supervised.give(number, 2, **options)
    for number in cancelled:
        supervised.slot.cancel(number, 0.0)

    assert supervised.slot.only_cancelled is whether


@pytest.mark.parametrize(
    ("chunks", "whether"),
    [
        ([], False),
        ([{}], True),
        ([{}, {}], False),
        ([{"long": True}, {}], True),
        ([{"timeout_seconds": 9.0}], False),
        ([{"long": True}, {"timeout_seconds": 9.0}], False),
        ([COROUTINE], False),
    ],
)
def test_a_worker_is_calm_if_what_it_has_may_take_as_long_as_it_likes(
    supervised: Supervised, chunks: list[dict[str, Any]], whether: bool
) -> None:
    """And nothing waits behind what was meant to be short."""
    for number, options in enumerate(chunks, start=1):
        supervised.give(number, 2, **options)

    assert supervised.slot.calm is whether


def test_a_worker_that_is_to_end_something_is_not_calm(supervised: Supervised) -> None:
    """Nor one that is about to be ended itself."""
    supervised.give(1, 2)
    supervised.slot.cancel(1, 0.0)
    other = Supervised()
    other.give(1, 2)
    other.slot.kill(Reason.MEMORY)

    assert not supervised.slot.calm
    assert not other.slot.calm


def test_a_worker_is_stillborn_until_it_comes_to_an_item(supervised: Supervised) -> None:
    """Whatever it was given before; what it is at is the chunk that was given first, as long as it has it."""
    assert supervised.slot.current is None
    supervised.give(1, 1)
    supervised.give(2, 1)
    current = supervised.slot.current
    assert current is not None
    assert (current.id, supervised.slot.stillborn) == (1, True)
    supervised.run(0)
    assert not supervised.slot.stillborn
    supervised.finish()

    assert supervised.slot.current is None
    assert not supervised.slot.stillborn


@pytest.mark.parametrize("frame", [Frame(Kind.PART, b"", 2, 0, 1), Frame(Kind.DESCRIBE, b"", 1)])
def test_what_no_worker_says_of_its_chunks_is_refused(supervised: Supervised, frame: Frame) -> None:
    """A report of a chunk that it does not have is not taken for one of another that it has."""
    supervised.give(1, 1)

    with pytest.raises(ProtocolError):
        supervised.slot.received(frame, 0.0)
    assert supervised.slot.items_done == 0


def test_a_chunk_that_waits_behind_another_has_taken_nothing(supervised: Supervised) -> None:
    """Until that has ended."""
    supervised.give(1, 2, now=0.25)
    supervised.give(2, 1, now=0.5)

    assert (supervised.slot.taken(1, 1.0), supervised.slot.taken(2, 1.0)) == (0.75, 0.0)


def test_a_chunk_took_as_long_as_its_worker_says(supervised: Supervised) -> None:
    """However long its report was on its way."""
    supervised.worker.seconds = 0.000007
    supervised.give(1, 2)
    supervised.give(2, 1)
    supervised.run(0)
    supervised.finish()

    assert supervised.took == {1: 0.000007, 2: 0.000007}
    assert supervised.slot.items_done == 3


def test_coroutines_take_time_side_by_side(supervised: Supervised) -> None:
    """None waits behind another."""
    supervised.give(1, 1, now=0.25, **COROUTINE)
    supervised.give(2, 1, now=0.5, **COROUTINE)

    assert (supervised.slot.taken(1, 1.0), supervised.slot.taken(2, 1.0)) == (0.75, 0.5)


def test_a_worker_that_says_that_it_leaves_is_given_nothing_more(supervised: Supervised) -> None:
    """And is no loss, whatever becomes of it."""
    supervised.worker.leaving = True
    supervised.give(1, 1)
    supervised.worker.begin(0, 0.0)
    supervised.slot.received(supervised.worker.pipe.popleft(), 0.0)

    assert supervised.slot.kill_reason is Reason.RETIRED
    assert supervised.slot.room(1) == "none"


def test_a_worker_that_is_ended_is_not_stillborn(supervised: Supervised) -> None:
    """Nobody can tell what would have come of it."""
    supervised.slot.retire()

    assert not supervised.slot.stillborn


@pytest.mark.parametrize(
    ("chunks", "one", "side_by_side"),
    [
        ([], "idle", "idle"),
        ([{}], "behind", "none"),
        ([{"long": True}], "after", "none"),
        ([{"short": False}], "none", "none"),
        ([{}, {}], "none", "none"),
        ([COROUTINE], "none", "idle"),
        ([COROUTINE, COROUTINE], "none", "idle"),
        ([COROUTINE, COROUTINE, COROUTINE], "none", "none"),
    ],
)
def test_there_is_room_for_a_second_chunk_or_for_a_few_that_run_side_by_side(
    supervised: Supervised, chunks: list[dict[str, Any]], one: str, side_by_side: str
) -> None:
    """Never for one of either kind beside one of the other."""
    for number, options in enumerate(chunks, start=1):
        supervised.give(number, 2, **options)

    assert (supervised.slot.room(1), supervised.slot.room(3)) == (one, side_by_side)


def test_who_is_about_to_leave_has_no_room() -> None:
    """Whatever it has, and however it will go."""
    retired, killed = Supervised(), Supervised()
    retired.slot.retire()
    killed.give(1, 1)
    killed.slot.kill(Reason.MEMORY)

    rooms = [supervised.slot.room(each) for supervised in (retired, killed) for each in (1, 3)]
    assert rooms == ["none"] * 4


def test_a_worker_that_had_nothing_to_do_is_not_stuck_when_it_is_given_something(
    supervised: Supervised,
) -> None:
    """It has its time from then on, and no longer."""
    supervised.give(1, 1, now=3600.0)

    assert supervised.slot.watch(3600.0) is None
    assert supervised.slot.watch(3600.0 + START_SECONDS_MAX) is Action.KILL
    assert supervised.slot.kill_reason is Reason.STUCK


def test_what_is_put_behind_an_item_gives_it_no_more_time(supervised: Supervised) -> None:
    """Its limit counts from when it was seen first."""
    supervised.give(1, 1, timeout_seconds=1.0)
    supervised.run(0)
    assert supervised.slot.watch(0.0) is None
    supervised.give(2, 1, now=0.9)

    assert supervised.slot.watch(1.0) is Action.INTERRUPT


def test_a_limit_is_of_one_chunk_only(supervised: Supervised) -> None:
    """The one after the next has the same word, and all of its items may start."""
    supervised.give(1, 2)
    supervised.run(0)
    supervised.slot.recall(1)
    supervised.finish()
    assert supervised.ends == {1: 1}
    supervised.give(2, 1)
    supervised.give(3, 1)

    assert [limit.value for limit in supervised.worker.marks.limits] == [NO_LIMIT, NO_LIMIT]


def test_a_worker_is_to_be_alone_as_long_as_it_has_what_wants_that(supervised: Supervised) -> None:
    """Also behind something that does not care, and not after it."""
    supervised.give(1, 1)
    assert not supervised.slot.alone
    supervised.give(2, 1, alone=True)
    assert supervised.slot.alone
    supervised.run(0)
    supervised.finish()
    assert supervised.ends == {1: 1, 2: 1}

    assert not supervised.slot.alone
