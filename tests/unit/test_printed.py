"""What items print is kept, up to a limit of their job."""

from app.domain.store import Note
from app.service.live import LOG_CHARS_MAX
from tests.simulation.scheduled import Scheduled, scheduled


def test_of_what_the_items_of_a_job_print_so_much_is_kept() -> None:
    """What does not fit any more is left out whole, and what does is kept all the same."""
    notes: list[Note] = []

    async def story(service: Scheduled) -> None:
        live = await service.submit(1000.0, 1000.0, chunksize=1)
        first, second = live.chunks
        service.dispatcher.printed(first, 0, "a" * (LOG_CHARS_MAX - 2))
        service.dispatcher.printed(second, 1, "bbb")
        service.dispatcher.printed(second, 1, "cc")
        service.dispatcher.printed(first, 0, "d")
        await service.end(live)
        notes.extend(await service.store.notes(live.job.id))

    scheduled(story)

    assert [(note.index, (note.log or "")[:2]) for note in notes] == [(0, "aa"), (1, "cc")]
