"""Builders of what stores hold, with everything that does not matter filled in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.item import Block, Segment
from app.domain.job import Counts, Job, Options, Status

NOON = datetime(2030, 1, 2, 12, 0, 0, 250_000, tzinfo=UTC)


def a_job(job_id: str = "j", *, total: int = 3, **members: Any) -> Job:
    """A queued job of `total` items."""
    given: dict[str, Any] = {
        "task": "sqrt",
        "status": Status.QUEUED,
        "counts": Counts(total),
        "options": Options(),
        "created_at": NOON,
        "fingerprint": "00",
    }
    return Job(id=job_id, **given | members)


def a_block(first: int = 0, count: int = 3) -> Block:
    """Items that say their own index."""
    return Block(first, count, b"".join(b'{"x":%d}\n' % index for index in range(first, first + count)))


def a_line(index: int, *, failed: bool = False, size: int = 0) -> bytes:
    """A result line, at least `size` bytes longer than it need be."""
    outcome = b'"error":{"kind":"exception","message":"%b"}' if failed else b'"output":"%b"'
    return b'{"index":%d,%b}\n' % (index, outcome % (b"x" * size))


class Log:
    """A job's log as it grows: makes its segments, and knows which lines they hold, in order of completion."""

    def __init__(self, job_id: str = "j") -> None:
        self.job_id = job_id
        self.lines: list[tuple[int, bool, bytes]] = []
        """(index, whether it failed, line)"""

    def segment(self, first: int, failures: Sequence[bool], sizes: Sequence[int] | None = None) -> Segment:
        """The next segment: items from `first` on, each a failure or not."""
        sizes = sizes or [0] * len(failures)
        new = [
            (index, failed, a_line(index, failed=failed, size=size))
            for index, (failed, size) in enumerate(zip(failures, sizes, strict=True), start=first)
        ]
        failed_before = sum(failed for _, failed, _ in self.lines)
        segment = Segment(
            job_id=self.job_id,
            first=first,
            count=len(new),
            failed=sum(failures),
            done_before=len(self.lines),
            failed_before=failed_before,
            lines=b"".join(line for *_, line in new),
        )
        self.lines += new
        return segment

    @property
    def counts(self) -> dict[str, int]:
        """How many items succeeded and failed."""
        failed = sum(failed for _, failed, _ in self.lines)
        return {"succeeded": len(self.lines) - failed, "failed": failed}
