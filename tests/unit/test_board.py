"""What a crowd of viewers is sent is made once; each gets every line once, whatever it has and however slow it is."""

import asyncio
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.board import BOARD_BYTES_MAX, WOKEN_MAX, Board
from app.api.streaming import Unfinished
from app.domain.errors import StorageUnavailable
from app.domain.item import View
from tests.unit.crowd import ALL, FAILED, IN_ORDER, Service, Watching, moments, told


def test_a_crowd_is_sent_the_same_bytes() -> None:
    """Of viewers that came at different times, each gets the very objects that the others get: they were made once."""

    async def story(service: Service) -> None:
        job = await service.begin(600)
        crowd = [asyncio.create_task(service.viewer().to_the_end()) for _ in range(20)]
        for first in range(0, 600, 60):
            await job.did(first, [False] * 60)
            await moments(1)
        watching = [await viewer for viewer in crowd]

        assert watching[0].lines == job.lines(ALL)
        assert len(watching[0].batches) == 10
        for viewer in watching:
            assert all(one is other for one, other in zip(viewer.batches, watching[0].batches, strict=True))

    told(story)


@pytest.mark.parametrize("cursor", [0, 7, 300])
def test_who_comes_in_the_middle_reads_up_to_the_crowd_and_is_one_of_it(cursor: int) -> None:
    """The lines before the crowd's head it is given by itself, later ones as all are."""

    async def story(service: Service) -> None:
        job = await service.begin(900)
        early = asyncio.create_task(service.viewer().to_the_end())
        await job.did(0, [False] * 300)
        await moments(2)
        late = asyncio.create_task(service.viewer(cursor=cursor).to_the_end())
        for first in range(300, 900, 300):
            await moments(2)
            await job.did(first, [False] * 300)
        one, other = await early, await late

        assert other.lines == job.lines(ALL, cursor)
        assert one.lines == job.lines(ALL)
        assert other.batches[-1] is one.batches[-1]

    told(story)


def test_a_viewer_that_does_not_read_holds_nothing() -> None:
    """Boards keep within their bounds while others go on, and when it reads again it gets every line."""

    async def story(service: Service) -> None:
        job = await service.begin(100)
        slow = service.viewer()
        await slow.next()
        quick = asyncio.create_task(service.viewer().to_the_end())
        for first in range(100):
            await job.did(first, [False], [60_000])
            await moments(1)
            assert 0 <= service.board_bytes <= BOARD_BYTES_MAX
        seen = await quick
        assert service.board_bytes <= BOARD_BYTES_MAX < len(b"".join(seen.pieces)) // 5

        await slow.to_the_end()
        assert slow.lines == seen.lines == job.lines(ALL)
        assert service.board_bytes == 0
        assert not service.boards._boards

    told(story)


def test_without_room_each_reads_by_itself() -> None:
    """What all boards together may hold is bounded, too, and nobody misses anything for it."""

    async def story(service: Service) -> None:
        service.boards._room.bytes_left = 1_000
        job = await service.begin(30)
        crowd = [asyncio.create_task(service.viewer().to_the_end()) for _ in range(3)]
        for first in range(30):
            await job.did(first, [False], [first * 100])
            await moments(1)
        for viewer in crowd:
            assert (await viewer).lines == job.lines(ALL)
        assert service.boards._room.bytes_left == 1_000

    told(story)


@settings(max_examples=60)
@given(
    parts=st.lists(
        st.tuples(st.lists(st.booleans(), min_size=1, max_size=400), st.floats(0, 1)), max_size=12
    ),
    viewers=st.lists(
        st.tuples(
            st.sampled_from([ALL, FAILED, IN_ORDER, None]),
            st.integers(0, 500),
            st.floats(0, 3),
            st.floats(0, 1),
        ),
        max_size=12,
    ),
    seed=st.integers(0, 1_000),
)
def test_every_viewer_gets_every_line_of_its_view_once(
    parts: list[tuple[list[bool], float]],
    viewers: list[tuple[View | None, int, float, float]],
    seed: int,
) -> None:
    """Whatever it has, whenever it comes, however slowly it reads; each id is the cursor, and `end` is the last."""

    async def story(service: Service) -> None:
        chance = random.Random(seed)
        total = sum(len(failures) for failures, _ in parts)
        job = await service.begin(total + 1)
        places = [*parts]
        firsts = {}
        first = 0
        for part in places:
            firsts[id(part)] = first
            first += len(part[0])
        chance.shuffle(places)  # items end in any order

        async def come(view: View | None, cursor: int, after: float, pause: float) -> Watching:
            await asyncio.sleep(after)
            return await service.viewer(view, cursor).to_the_end(lambda: chance.choice((0.0, pause)))

        crowd = [asyncio.create_task(come(*viewer)) for viewer in viewers]
        for part in places:
            failures, seconds = part
            await job.did(firsts[id(part)], failures)
            await asyncio.sleep(seconds)
        await job.did(total, [True])

        for (view, cursor, _, _), viewer in zip(viewers, crowd, strict=True):
            watching = await viewer
            assert [name for name, _, _ in watching.events].index("end") == len(watching.events) - 1
            if view is None:
                assert watching.lines == []
                continue
            lines = job.lines(view, cursor)
            assert watching.lines == lines
            for name, id_, data in watching.events:
                cursor += data.count(b'"index":') if name == "results" else 0
                assert id_ == cursor
        assert service.board_bytes == 0

    told(story)


@pytest.mark.parametrize("reading", [0.0, 0.001, 0.002, 0.003])
@pytest.mark.parametrize("view", [ALL, IN_ORDER], ids=["by completion", "by index"])
def test_the_end_comes_after_the_last_line(view: View, reading: float) -> None:
    """Also where a job ends with more than one batch, and where lines come while a viewer reads others."""

    async def story(service: Service) -> None:
        job = await service.begin(200)
        viewer = asyncio.create_task(service.viewer(view).to_the_end())
        for first in range(195):
            await job.did(first, [False])
            await asyncio.sleep(0.0013 * (first % 9))
        await moments(1)
        await asyncio.sleep(reading)
        await job.did(195, [False] * 5, [60_000] * 5)

        watching = await viewer
        assert watching.lines == job.lines(view)
        assert watching.events[-1][0] == "end"
        assert b": ping\n" not in watching.pieces  # nor was it late by a silence

    told(story)


def test_a_cursor_that_nobody_was_given_harms_nobody() -> None:
    """Lines that are not there yet are not sent to who says that it has them; the others get theirs."""

    async def story(service: Service) -> None:
        job = await service.begin(2)
        wrong = asyncio.create_task(service.viewer(cursor=10**17).to_the_end())
        await moments(1)
        right = asyncio.create_task(service.viewer().to_the_end())
        for first in range(2):
            await job.did(first, [False])
            await moments(1)

        assert (await right).lines == job.lines(ALL)
        assert (await wrong).lines == []

    told(story)


def test_what_another_job_has_under_the_same_id_is_not_sent() -> None:
    """Once the job is deleted, its id may be another caller's: who still reads the old one is cut off."""

    async def story(service: Service) -> None:
        job = await service.begin(40, submitted_by="ann")
        behind = service.viewer()
        await behind.next()
        for first in range(40):  # more than a board keeps
            await job.did(first, [False], [60_000])
            await service.viewer().next()
        await service.jobs.delete("j")
        other = await service.begin(2, submitted_by="bob")
        await other.did(0, [False])

        with pytest.raises(Unfinished):
            await behind.to_the_end()
        assert set(behind.lines) <= set(job.lines(ALL))

    told(story)


def test_a_ticket_is_for_its_caller_alone() -> None:
    """Every Job that a viewer is sent has its own ticket in it, or none."""

    async def story(service: Service) -> None:
        job = await service.begin(1)
        tickets = ["ann's", "bob's", None]
        crowd = [asyncio.create_task(service.viewer(ALL, 0, ticket).to_the_end()) for ticket in tickets]
        await moments(1)
        job.paused()
        await moments(1)
        await job.did(0, [False])

        for ticket, viewer in zip(tickets, crowd, strict=True):
            jobs = [data for name, _, data in (await viewer).events if name in ("job", "end")]
            assert len(jobs) == 3
            for data in jobs:
                assert re.findall(rb"ticket=([^\"]*)", data) == ([ticket.encode()] if ticket else [])

    told(story)


def test_a_new_status_does_not_wait_for_its_turn() -> None:
    """It is told at once, though results were sent a moment before."""

    async def story(service: Service) -> None:
        job = await service.begin(2)
        viewer = service.viewer()
        await viewer.next()
        await job.did(0, [False])
        while not viewer.batches:
            await viewer.next()
        began = service.clock.monotonic()
        job.paused()

        assert b'"status":"paused"' in await viewer.next()
        assert service.clock.monotonic() - began < 0.01
        await viewer.leave()

    told(story)


def test_who_waits_goes_on_when_another_leaves() -> None:
    """Also if that was the first to wait; and when the last one has left, nothing is left."""

    async def story(service: Service) -> None:
        job = await service.begin(2)
        first, second = (asyncio.create_task(service.viewer().to_the_end()) for _ in range(2))
        await moments(1)
        first.cancel()
        await moments(1)
        await job.did(0, [False])
        await moments(1)
        assert service.board_bytes > 0
        await job.did(1, [False])

        assert (await second).lines == job.lines(ALL)
        assert first.cancelled()
        assert (service.board_bytes, len(service.boards._boards)) == (0, 0)

    told(story)


def test_a_turn_that_was_made_meanwhile_is_not_waited_for() -> None:
    """Who looked before it was made is told at once that there is something new."""

    async def story(service: Service) -> None:
        job = await service.begin(2)
        with service.boards.of(service.dispatcher.live["j"], ALL) as board:
            looked = board.turns
            await job.did(0, [False])
            assert await board.turn(looked)
            began = service.clock.monotonic()
            assert await board.turn(looked)
            assert service.clock.monotonic() == began

    told(story)


def test_a_crowd_is_woken_some_at_a_time() -> None:
    """Between, the loop turns to whatever else there is to do."""

    async def story(service: Service) -> None:
        passes, woken_in = 0, Counter[int]()
        ticking: asyncio.Task[None] | None = None
        job = await service.begin(2)

        async def tick() -> None:
            nonlocal passes
            for _ in range(100):
                passes += 1
                await asyncio.sleep(0)

        async def wait(board: Board) -> None:
            nonlocal ticking
            await board.turn(board.turns)
            ticking = ticking or asyncio.create_task(tick())
            woken_in[passes] += 1

        with service.boards.of(service.dispatcher.live["j"], ALL) as board:
            waiting = [asyncio.create_task(wait(board)) for _ in range(10 * WOKEN_MAX)]
            await moments(1)
            await job.did(0, [False])
            await asyncio.gather(*waiting)

        assert ticking is not None
        ticking.cancel()
        assert max(woken_in.values()) <= 2 * WOKEN_MAX
        assert len(woken_in) >= 5

    told(story)


def test_where_the_log_cannot_be_read_all_are_cut_off_and_come_back() -> None:
    """A turn that fails does so for everybody who waits for it; a later one is another try."""

    async def story(service: Service) -> None:
        job = await service.begin(2)
        crowd = [asyncio.create_task(service.viewer().to_the_end()) for _ in range(3)]
        await moments(1)
        service.store.failing = True
        await job.did(0, [False])
        ends = await asyncio.gather(*crowd, return_exceptions=True)
        assert [type(end) for end in ends] == [StorageUnavailable] * 3
        assert not service.boards._boards

        service.store.failing = False
        again = asyncio.create_task(service.viewer().to_the_end())
        await moments(1)
        await job.did(1, [False])
        assert (await again).lines == job.lines(ALL)

    told(story)
