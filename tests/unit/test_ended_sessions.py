"""What is kept of sessions that were ended: as long as they would have been, in a file that does not grow for ever."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.errors import ServiceError
from app.stores import ended as ended_sessions
from app.stores.ended import EndedSessions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_ended_session_is_kept_until_its_time_is_over(tmp_path: Path) -> None:
    """By this process and by the next ones."""
    path = tmp_path / "ended"
    asyncio.run(EndedSessions(path, NOON).add("a", NOON + HOUR, NOON))

    assert "a" in EndedSessions(path, NOON)
    assert "b" not in EndedSessions(path, NOON)
    assert "a" not in EndedSessions(path, NOON + HOUR)
    assert path.read_text() == ""


def test_half_a_line_that_a_crash_left_is_nobodys(tmp_path: Path) -> None:
    """And what is added after it stands on a line of its own."""
    path = tmp_path / "ended"
    path.write_text(f"{(NOON + HOUR).timestamp()} a\n{(NOON + HOUR).timestamp()} b")

    asyncio.run(EndedSessions(path, NOON).add("c", NOON + HOUR, NOON))

    ended = EndedSessions(path, NOON)
    assert [session in ended for session in "abc"] == [True, False, True]


def test_what_is_needed_no_more_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the process runs, too."""
    monkeypatch.setattr(ended_sessions, "LINES_MIN", 10)
    path = tmp_path / "ended"
    ended = EndedSessions(path, NOON)

    async def fill() -> None:
        for number in range(10):
            await ended.add(f"s{number}", NOON + HOUR * (number % 2), NOON + HOUR / 2)

    asyncio.run(fill())

    assert len(path.read_text().splitlines()) == 5
    assert "s1" in ended
    assert "s0" not in ended


def test_a_file_that_cannot_be_read_ends_the_start(tmp_path: Path) -> None:
    """Rather than that a session comes to life again."""
    path = tmp_path / "ended"
    path.write_text("no time\n")

    with pytest.raises(ServiceError, match="which sessions were ended"):
        EndedSessions(path, NOON)
