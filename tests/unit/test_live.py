"""An unfinished job in memory: each item is in one place."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from msgspec.structs import replace

from app.domain.engine import Chunk
from app.domain.job import Event, Status
from app.domain.retry import Trouble
from app.service.live import LiveJob
from tests.builders import NOON, a_job


def a_live_job(total: int) -> LiveJob:
    return LiveJob(a_job(total=total), [(0, total)], "cpu", 1, now=0.0)


def test_an_item_that_is_to_run_alone_does_so_wherever_it_waits() -> None:
    """Also when it came back from a worker that left through no fault of its own."""
    live = a_live_job(3)
    chunk = Chunk(1, "sqrt", b"{}", 0, 1, b"1\n", alone=True)
    live.sent(chunk)
    live.trouble(0).alone = True
    live.give_back(chunk, 0, 1)

    assert live.next_alone
    assert live.next_items(workers=2) == (0, 1)


def test_what_is_out_is_with_workers_until_it_is_heard_of() -> None:
    """Sent, and given back."""
    live = a_live_job(3)
    live.sent(Chunk(1, "sqrt", b"{}", 0, 2, b"1\n2\n"))

    assert (live.out, live.waiting) == (2, 1)


class _Counted(dict[int, Any]):
    """Remembers how often something was taken out, or looked for there."""

    taken = 0

    def pop(self, *arguments: Any) -> Any:
        self.taken += 1
        return super().pop(*arguments)


@pytest.mark.parametrize(("indexes", "count"), [([7], 60_000), (range(60_000), 3), ([7, 8], 8)])
def test_what_is_known_of_items_goes_with_their_results(indexes: Collection[int], count: int) -> None:
    """One item in trouble does not have each of a large part looked for, nor many in trouble each of a small one."""
    live = a_live_job(60_000)
    live.troubles = _Counted({index: Trouble() for index in indexes})
    live.progress = _Counted(dict.fromkeys(indexes, (0.5, "")))

    live.log(0, count, 0, b"")

    assert set(live.troubles) == set(live.progress) == {index for index in indexes if index >= count}
    assert live.troubles.taken + live.progress.taken <= 2 * 3


@pytest.mark.parametrize("sent", [0, 3])
def test_items_that_come_later_wait_behind_those_there_are(sent: int) -> None:
    """In one range with the last ones, if these wait."""
    live = LiveJob(a_job(total=3, sealed=False), [(0, 3)], "cpu", 1, now=0.0)
    if sent:
        live.sent(Chunk(1, "sqrt", b"{}", 0, sent, b"1\n2\n3\n"))

    live.grow(2)

    assert list(live.todo) == [(sent, 5)]
    assert (live.waiting, live.counts.total) == (5 - sent, 5)
    assert live.tally.items == live.waiting


def test_an_open_job_is_not_over_with_its_last_result() -> None:
    """Before the seal; and it cannot end while items are on their way."""
    live = LiveJob(a_job(total=0, sealed=False), [], "cpu", 1, now=0.0)

    assert not live.over
    assert live.after((), NOON).status is Status.QUEUED
    live.job = replace(live.job, sealed=True)
    assert live.over
    assert live.after((), NOON).status is Status.COMPLETED


def test_a_cancelled_job_does_not_end_while_items_are_added_to_it() -> None:
    """They are stored with it, and it is to count them; once they are, it ends."""
    live = LiveJob(a_job(total=0, sealed=False, status=Status.CANCELLING), [], "cpu", 1, now=0.0)
    live.halt = Event.CANCEL_ASKED

    asyncio.run(live.growing.acquire())
    assert not live.idle
    assert live.after((), NOON).status is Status.CANCELLING

    live.growing.release()
    assert live.idle
    assert live.after((), NOON).status is Status.CANCELLED
