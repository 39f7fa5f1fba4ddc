"""An item that took its worker's memory runs alone, and comes to its turn though others would never leave it alone."""

from tests.simulation.fate import Item
from tests.simulation.scheduled import Scheduled, scheduled

OTHERS = 400


def test_who_must_run_alone_is_not_kept_waiting_by_what_comes_in_other_pools() -> None:
    """These get nothing new until it has run, and then go on; else one of their items would always be running."""

    async def story(service: Scheduled) -> None:
        others = await service.submit(*(50.0 + number % 7 for number in range(OTHERS)), task="wait")
        greedy = await service.submit(Item(0, "oom", ms=30.0))
        await service.end(greedy)

        assert greedy.job.counts.succeeded == 1
        assert others.job.counts.done < 20
        await service.end(others)

        assert others.job.counts.succeeded == OTHERS

    scheduled(story)
