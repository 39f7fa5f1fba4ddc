"""Limits that the documents tell in words are those that hold."""

from pathlib import Path

import pytest

from app.api import board, job_page, multipart, overview, query
from app.domain import chunking, digest, eta, patience, retry
from app.service import access, backlog, control, intake, items, passing, recent, watchdog, writer
from app.stores import checkpoints, connection, payloads
from workers import blackbox, chunk, light, memory, report, slot, wire

ROOT = Path(__file__).parents[2]


def _bytes(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:g} ms"


LOG_BYTES = checkpoints.LOG_BYTES_MAX + checkpoints.STEP_BYTES
PRINTED_BYTES = blackbox.LOG_HEAD_BYTES + blackbox.LOG_TAIL_BYTES

TOLD = [
    ("ARCHITECTURE.md", f"a chunk of about {_ms(chunking.TARGET_SECONDS)} of work"),
    ("ARCHITECTURE.md", f"{_ms(chunking.ALONE_SECONDS)} for a job that has the workers to itself"),
    ("ARCHITECTURE.md", f"of long chunks every {chunk.FLUSH_LONG_SECONDS * 1_000:g}"),
    ("ARCHITECTURE.md", f"in one transaction, every {_ms(writer.PAUSE_SECONDS)}"),
    (
        "CHANGELOG.md",
        f"seen up to {_ms(chunk.FLUSH_LONG_SECONDS + writer.PAUSE_SECONDS)} after they are there",
    ),
    (
        "CHANGELOG.md",
        f"wakes {1 / watchdog.INTERVAL_SECONDS:g} times a second to look after itself",
    ),
    ("CHANGELOG.md", f"stored and told every {_ms(writer.PAUSE_SECONDS)} at most"),
    ("CHANGELOG.md", f"Results of items under {_ms(chunk.SLOW_SECONDS)}"),
    (
        "CHANGELOG.md",
        f"may have {query.PARAMETERS_MAX} parameters, and a form's Content-Type"
        f" {multipart.CONTENT_TYPE_CHARS_MAX:,} characters",
    ),
    ("docs/api.md", f"an address with more than {query.PARAMETERS_MAX}"),
    (
        "docs/callers.md",
        f"good for {'five' if access.TICKET_SECONDS == 300 else access.TICKET_SECONDS} minutes",
    ),
    ("docs/control.md", f"ends their workers after {slot.GRACE_SECONDS:g} s"),
    ("docs/control.md", f"their results are stored every {_ms(writer.PAUSE_SECONDS)}"),
    ("docs/durability.md", f"into the database every {_bytes(checkpoints.STEP_BYTES)}"),
    ("docs/durability.md", f"after {checkpoints.AGE_SECONDS_MAX:g} s at the latest"),
    ("docs/durability.md", f"The log takes {_bytes(LOG_BYTES)} of the disk at most"),
    ("docs/durability.md", f"one of more than {_bytes(payloads.INLINE_BYTES_MAX)} is in its job's file"),
    ("docs/performance.md", f"Blocks of {_bytes(intake.BLOCK_BYTES)}"),
    (
        "docs/performance.md",
        f"up to {_bytes(items.CACHE_BYTES)} of them, and {_bytes(items.READ_BYTES)} of those",
    ),
    ("docs/performance.md", f"up to {chunking.ITEMS_MAX:,} items or {_bytes(chunking.BYTES_MAX)}"),
    ("docs/performance.md", f"{wire.BLOCK_ITEMS} items share a mark"),
    ("docs/performance.md", f"a stretch of {light.STRETCH_ITEMS} is encoded"),
    ("docs/performance.md", f"Items over {chunking.LIGHT_SECONDS * 1e6:g} µs"),
    ("docs/performance.md", f"wait for the store may have {_bytes(backlog.BYTES_MAX)}"),
    ("docs/performance.md", f"that has more than {_bytes(backlog.OWN_BYTES_MAX)} among them"),
    ("docs/performance.md", f"and beyond {_bytes(backlog.ALL_BYTES_MAX)} none"),
    ("docs/performance.md", f"a job's followers {_bytes(recent.JOB_BYTES_MAX)} of its log"),
    ("docs/performance.md", f"a payload of more than {_bytes(payloads.INLINE_BYTES_MAX)}"),
    ("docs/performance.md", f"waits at {_bytes(checkpoints.LOG_BYTES_MAX)} of log"),
    ("docs/performance.md", f"*Results are written together*, every {_ms(writer.PAUSE_SECONDS)}"),
    ("docs/performance.md", f"is given chunks of {_ms(chunking.ALONE_SECONDS)}"),
    ("docs/event-loop.md", f"slices of at most {_bytes(passing.SLICE_BYTES)}"),
    ("docs/event-loop.md", f"a pool paused {control.RUNG_AT_ONCE:,} at a time"),
    ("docs/event-loop.md", f"encoded {job_page.AT_ONCE} jobs at a time"),
    ("docs/event-loop.md", f"woken {board.WOKEN_MAX} at a time"),
    ("docs/tasks.md", f"what it returns within {slot.GRACE_SECONDS:g} s"),
    ("docs/tasks.md", f"after {slot.DEAF_SECONDS:g} s if it is in C code"),
    ("docs/tasks.md", f"at least {patience.SECONDS_MIN:g} s, once {patience.ITEMS_MIN} items have run"),
    ("docs/tasks.md", f"head and tail of at most {_bytes(PRINTED_BYTES)}"),
    ("docs/tasks.md", f"no item starts above {memory.HOLD_SHARE:.0%}".replace("%", " %")),
    ("docs/tasks.md", f"above {memory.KILL_SHARE:.0%}".replace("%", " %")),
    ("docs/tasks.md", f"its result is over {_bytes(report.LINE_BYTES_MAX)}"),
    ("docs/understanding.md", f"The first {digest.GROUPS_MAX} of a job are told apart"),
    ("docs/understanding.md", f"Items that took less than {digest.QUICK_MS:g} ms are counted"),
    ("docs/understanding.md", f"null before {eta.RESULTS_MIN} results or {eta.SECONDS_MIN:g} seconds"),
    ("docs/understanding.md", f"with the {overview.NEWEST} newest jobs"),
    ("docs/understanding.md", f"at most {overview.JOBS_MAX} jobs"),
]


@pytest.mark.parametrize(("document", "told"), TOLD)
def test_a_limit_that_is_told_is_the_one_that_holds(document: str, told: str) -> None:
    """In these words, wherever the lines break."""
    assert told in " ".join((ROOT / document).read_text().split())


def test_what_is_told_in_other_words_than_numbers() -> None:
    """Half a second, a minute, ten times, the first ten, two workers."""
    assert connection.QUIET_SECONDS == 0.5
    assert retry.BACKOFF_SECONDS_MAX == 60
    assert patience.TIMES_MEDIAN == 10
    assert digest.SAMPLES_MAX == digest.SLOWEST_MAX == 10
    assert retry.DEATHS_MAX == 2
