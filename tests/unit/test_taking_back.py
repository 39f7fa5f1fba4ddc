"""What waits in a worker behind something that takes long goes back at once, and nothing that has begun does."""

import mmap
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.domain.engine import Chunk
from tests.unit.supervised import ModelWorker
from workers.postmortem import Exit
from workers.slot import GRACE_SECONDS, HELD_UP_SECONDS, LONG_ALONE_SECONDS, LONG_SECONDS, Action, Slot
from workers.wire import BLOCK_ITEMS, SLOT_BYTES, Marks

TINY = 1e-9
"""More than what is lost of a sum of floats."""


class Supervised:
    """A slot and its worker; hears what comes back."""

    def __init__(self) -> None:
        marks = Marks(mmap.mmap(-1, SLOT_BYTES), 0)
        marks.clear()
        self.worker = ModelWorker(marks)
        self.slot = Slot(0, marks, self, now=0.0)
        self.back: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.took: dict[int, float] = {}
        self.losses: list[tuple[int, int, int | None]] = []

    def give(self, number: int, count: int, *, now: float = 0.0, **options: Any) -> None:
        options = {"short": not options.get("long", False)} | options
        chunk = Chunk(number, "t", b"{}", 0, count, b"1\n" * count, **options)
        self.slot.give(chunk, now)
        self.worker.take(chunk, number % 2)

    def run(self, items: int) -> None:
        """So many items end, and the next one begins."""
        for _ in range(items):
            self.worker.begin(0, 0.0)
            self.worker.go_on("lucky")
        self.worker.begin(0, 0.0)

    def finish(self) -> None:
        """What runs ends, and then everything else."""
        self.worker.go_on("lucky")
        while self.worker.may_begin:
            self.worker.begin(0, 0.0)
            if self.worker.running:
                self.worker.go_on("lucky")
        while self.worker.pipe:
            self.slot.received(self.worker.pipe.popleft(), 1.0)

    def recalled(self, chunk_id: int, stop: int) -> None:
        self.back[chunk_id] = stop

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        self.ends[chunk_id], self.took[chunk_id] = stop, seconds

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None: ...
    def unlucky(self, chunk_id: int, index: int, error: Mapping[str, Any]) -> None: ...
    def printed(self, chunk_id: int, index: int, text: str) -> None: ...
    def progress(self, chunk_id: int, index: int, share: float, message: str) -> None: ...

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        self.losses.append((chunk_id, first, culprit))

    def room(self) -> None: ...


@pytest.fixture
def supervised() -> Supervised:
    return Supervised()


@pytest.mark.parametrize("ended", [0, 2])
@pytest.mark.parametrize("behind", [False, True])
def test_what_has_not_begun_goes_back(supervised: Supervised, ended: int, behind: bool) -> None:
    """Of the chunk that runs, and of the one behind it; the worker starts none of it, whenever it comes there."""
    supervised.give(1, 4)
    if behind:
        supervised.give(2, 3)
    supervised.run(ended)

    assert supervised.slot.hold_back(LONG_SECONDS, idle=False)
    assert supervised.back == {}
    supervised.slot.take_back()

    expected = {1: ended + 1} | ({2: 0} if behind else {})
    assert supervised.back == expected
    supervised.finish()
    assert supervised.ends == expected


def test_a_worker_that_moved_on_says_itself_where_it_stopped(supervised: Supervised) -> None:
    """Nobody can know what it has begun meanwhile."""
    supervised.give(1, 4)
    supervised.run(1)
    assert supervised.slot.hold_back(LONG_SECONDS, idle=False)
    supervised.finish()

    supervised.slot.take_back()

    assert (supervised.back, supervised.ends) == ({}, {1: 2})


@pytest.mark.parametrize(
    ("seconds", "idle", "behind", "back"),
    [
        (HELD_UP_SECONDS / 2, True, True, False),
        (HELD_UP_SECONDS, False, False, False),
        (HELD_UP_SECONDS, True, False, True),
        (HELD_UP_SECONDS, False, True, True),
        (LONG_SECONDS, False, False, True),
    ],
)
def test_what_goes_as_planned_stays(
    supervised: Supervised, seconds: float, idle: bool, behind: bool, back: bool
) -> None:
    """Back goes only what could run elsewhere, waits behind what should be done, or takes twice the time."""
    supervised.give(1, 4, now=60.0)
    if behind:
        supervised.give(2, 1, now=60.0)
    supervised.run(0)

    assert supervised.slot.hold_back(60.0 + seconds + TINY, idle=idle) is back


@pytest.mark.parametrize(("seconds", "back"), [(LONG_SECONDS, False), (LONG_ALONE_SECONDS, True)])
def test_a_chunk_that_was_meant_to_be_long_has_longer(
    supervised: Supervised, seconds: float, back: bool
) -> None:
    """Twice the time that it should take, too."""
    supervised.give(1, 20, long=True)
    supervised.run(0)

    assert supervised.slot.hold_back(seconds, idle=False) is back


def test_what_shares_its_mark_with_the_item_that_runs_stays(supervised: Supervised) -> None:
    """It may have begun, for all that is known."""
    supervised.give(1, 10 * BLOCK_ITEMS, light=True)
    supervised.run(0)
    supervised.slot.hold_back(LONG_SECONDS, idle=False)

    supervised.slot.take_back()

    assert supervised.back == {1: BLOCK_ITEMS}


def test_nothing_is_put_behind_what_is_late(supervised: Supervised) -> None:
    """Until it is through."""
    supervised.give(1, 1)
    supervised.run(0)
    assert supervised.slot.room(1) == "behind"

    assert not supervised.slot.hold_back(HELD_UP_SECONDS, idle=False)
    assert supervised.slot.room(1) == "none"

    supervised.finish()
    assert supervised.slot.room(1) == "idle"


def test_after_a_long_chunk_another_may_wait(supervised: Supervised) -> None:
    """It is not behind what should be done by now, until the long one takes twice the time that it should."""
    supervised.give(1, 20, long=True)
    supervised.run(0)
    assert supervised.slot.room(1) == "after"
    supervised.give(2, 20, long=True)
    assert supervised.slot.room(1) == "none"

    assert not supervised.slot.hold_back(LONG_SECONDS, idle=False)
    assert supervised.slot.calm
    assert supervised.slot.hold_back(LONG_SECONDS, idle=True)
    supervised.slot.take_back()

    assert supervised.back == {1: 1, 2: 0}


def test_after_a_long_chunk_that_is_late_nothing_may_wait(supervised: Supervised) -> None:
    """An item of it takes long; what waits after it goes back."""
    supervised.give(1, 1, long=True)
    supervised.run(0)
    assert not supervised.slot.hold_back(LONG_ALONE_SECONDS, idle=False)
    assert supervised.slot.room(1) == "none"

    supervised.give(2, 20, long=True)
    assert supervised.slot.hold_back(LONG_ALONE_SECONDS, idle=False)


def test_behind_what_was_meant_to_be_short_a_worker_is_not_calm(supervised: Supervised) -> None:
    """Somebody has to look whether it takes longer."""
    supervised.give(1, 1)
    assert supervised.slot.calm
    supervised.give(2, 1)

    assert not supervised.slot.calm


def test_a_chunk_has_taken_nothing_while_it_waits_after_another(supervised: Supervised) -> None:
    """Its time begins when that ends."""
    supervised.give(1, 1, long=True)
    supervised.give(2, 1, long=True)
    assert (supervised.slot.taken(1, 0.25), supervised.slot.taken(2, 0.25)) == (0.25, 0.0)

    supervised.worker.begin(0, 0.0)
    supervised.worker.go_on("lucky")
    supervised.worker.begin(0, 0.0)
    while supervised.worker.pipe:
        supervised.slot.received(supervised.worker.pipe.popleft(), 1.0)

    assert supervised.slot.taken(2, 1.5) == 0.5


def test_items_side_by_side_wait_for_nobody(supervised: Supervised) -> None:
    """Nothing of theirs is behind anything."""
    supervised.give(1, 1, concurrency=3)
    supervised.worker.begin(0, 0.0)

    assert not supervised.slot.hold_back(LONG_SECONDS, idle=True)


def test_nothing_goes_back_while_the_end_of_a_chunk_is_on_its_way(supervised: Supervised) -> None:
    """Its results are, too, though the chunk behind it runs already."""
    supervised.give(1, 1)
    supervised.give(2, 3)
    supervised.run(1)  # which ends the first
    supervised.worker.begin(0, 0.0)
    assert supervised.worker.marked == (2, 0)

    assert not supervised.slot.hold_back(LONG_ALONE_SECONDS, idle=True)
    supervised.slot.take_back()
    supervised.finish()

    assert supervised.back == {}
    assert supervised.ends == {1: 1, 2: 3}


def test_of_a_chunk_whose_last_item_runs_nothing_goes_back(supervised: Supervised) -> None:
    """Only the one behind it does."""
    supervised.give(1, 2)
    supervised.give(2, 3)
    supervised.run(1)
    assert supervised.slot.hold_back(LONG_SECONDS, idle=False)

    supervised.slot.take_back()

    assert supervised.back == {2: 0}


def test_no_item_that_went_back_is_to_blame_for_the_end_of_its_worker(supervised: Supervised) -> None:
    """It may have its result from another by then."""
    supervised.give(1, 1)
    supervised.give(2, 3)
    supervised.run(0)
    assert supervised.slot.hold_back(LONG_SECONDS, idle=False)
    supervised.slot.take_back()
    supervised.worker.go_on("lucky")
    supervised.worker.begin(0, 0.0)  # which ends the first
    while supervised.worker.pipe:
        supervised.slot.received(supervised.worker.pipe.popleft(), 1.0)
    supervised.slot.cancel(2, 1.0)
    assert supervised.slot.watch(1.0 + GRACE_SECONDS) is Action.KILL

    supervised.slot.died(Exit(-signal.SIGKILL))

    assert (supervised.ends, supervised.losses) == ({1: 1}, [(2, 0, None)])


def test_what_is_cancelled_starts_no_further_item(supervised: Supervised) -> None:
    """Once the one that runs is through, whether that ends as it was asked to or by itself."""
    supervised.give(1, 4)
    supervised.run(1)
    supervised.slot.cancel(1, 0.0)

    supervised.finish()

    assert supervised.ends == {1: 2}
