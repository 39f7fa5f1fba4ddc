"""What stores promise of digests: each is what was stored with the results it was made of."""

from msgspec.structs import replace

from app.domain.digest import Digest, Digesting
from app.domain.job import Counts
from app.domain.store import JobStore
from tests.builders import NOON, Log, a_block, a_job
from tests.contract.conftest import Run


def a_digest(log: Log) -> Digest:
    digesting = Digesting(Digest(log.job_id), NOON)
    list(digesting.over([log.segment(0, [True, False])]))
    return digesting.digest


def test_a_digest_comes_back_as_it_was_stored_last(store: JobStore, run: Run) -> None:
    """Groups, times, samples and all; none where there was none."""
    digest = a_digest(log := Log())
    for job_id in ("j", "k"):
        run(store.create_job(a_job(job_id), [a_block()]))

    run(store.append_results([Log().segment(0, [True, False])], [], {}, digests=[Digest("j")]))
    run(store.append_results([], [], {}, digests=[digest]))

    assert run(store.read_digest("j")) == digest
    assert run(store.read_digest("k")) is None
    assert run(store.read_digest("unknown")) is None
    assert len(log.lines) == 2


def test_a_job_keeps_its_most_frequent_groups(store: JobStore, run: Run) -> None:
    """They are read with the job itself, however many results it has."""
    digest = a_digest(Log())
    run(store.create_job(a_job(), [a_block()]))
    job = replace(a_job(counts=Counts(3, succeeded=1, failed=1)), error_groups=digest.top)

    run(store.append_results([Log().segment(0, [True, False])], [job], {}, digests=[digest]))

    assert run(store.get_job("j")) == job


def test_a_digest_goes_with_its_job(store: JobStore, run: Run) -> None:
    """A job of the same id later does not find it, and it is swept away."""
    run(store.create_job(a_job(), [a_block()]))
    run(store.append_results([], [], {}, digests=[Digest("j")]))

    run(store.delete_job("j"))
    run(store.create_job(a_job(), [a_block()]))
    while run(store.sweep(1)):
        pass

    assert run(store.read_digest("j")) is None
