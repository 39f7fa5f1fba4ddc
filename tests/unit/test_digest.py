"""What results say taken together, however they come: in one go, line by line, or over a restart."""

import math
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.domain import digest
from app.domain.digest import (
    GROUPS_MAX,
    SAMPLES_MAX,
    SLOWEST_MAX,
    STEP_FAILURES,
    STEP_LINES_BYTES,
    STEP_PLACES,
    TOP_MAX,
    Digest,
    Digesting,
    is_telling,
)
from app.domain.item import Segment
from tests.builders import NOON

LATER = NOON + timedelta(minutes=5)


def a_segment(first: int, lines: Sequence[bytes]) -> Segment:
    failed = sum(b'"error"' in line for line in lines)
    return Segment("j", first, len(lines), failed, 0, 0, b"".join(lines))


def done(index: int, ms: float | None = None, output: bytes = b"1") -> bytes:
    took = b"" if ms is None else b',"duration_ms":%.1f' % ms
    return b'{"index":%d,"output":%b%b}\n' % (index, output, took)


def failed(index: int, message: str = "bad", kind: str = "exception", ms: float | None = None) -> bytes:
    error = msgspec.json.encode({"kind": kind, "type": "ValueError", "message": message})
    took = b"" if ms is None else b',"duration_ms":%.1f' % ms
    return b'{"index":%d,"error":%b%b}\n' % (index, error, took)


def digested(*batches: Sequence[bytes], now: bool = False) -> Digest:
    """The digest after these batches of lines, one after the other."""
    digest, first = Digest("j"), 0
    for number, lines in enumerate(batches):
        digesting = Digesting(digest, (NOON, LATER)[number % 2] if now else None)
        for _ in digesting.over([a_segment(first, lines)]):
            pass
        digest, first = digesting.digest, first + len(lines)
    return digest


def words(number: int) -> str:
    """A message that no mask makes the same as another."""
    return "".join(chr(ord("g") + int(digit)) for digit in str(number))


def test_a_failure_counts_however_long_its_key_is() -> None:
    """As one without."""
    line = failed(3)
    keyed = line.replace(b',"error"', b',"key":"%b","error"' % (STEP_LINES_BYTES * rb"\n"))

    assert digested([done(2), keyed, done(4)]) == digested([done(2), line, done(4)])
    assert digested([keyed]).tallies[0].samples == (3,)


def test_failures_of_one_trouble_are_one_group() -> None:
    """Counted, with the first and the last time, and the first few indexes."""
    digest = digested(
        [failed(n, f"item {n}") for n in range(15)], [failed(15), failed(16, "item 16")], now=True
    )

    often, once = digest.by_frequency
    assert (often.count, often.group.message) == (16, "item <n>")
    assert often.samples == tuple(range(SAMPLES_MAX))
    assert (often.first_at, often.last_at) == (NOON, LATER)
    assert (once.count, once.samples, once.first_at) == (1, (15,), LATER)
    assert (digest.failures, digest.others) == (17, 0)


def test_groups_are_bounded_and_say_what_they_leave_out() -> None:
    """The first so many are kept apart, and still counted when there are others."""
    many = [failed(n, words(n)) for n in range(GROUPS_MAX + 5)]

    digest = digested(many, [failed(99, words(0))])

    assert len(digest.tallies) == GROUPS_MAX
    assert digest.others == 5
    assert digest.by_frequency[0].count == 2
    assert [entry["count"] for entry in digest.top] == [2] + [1] * (TOP_MAX - 1)
    assert digest.top[0].keys() == {"group", "kind", "type", "message", "count", "sample_index"}


LINES = st.lists(
    st.one_of(
        st.tuples(st.just(done), st.none() | st.floats(1, 1e7)),
        st.tuples(st.just(failed), st.none() | st.floats(1, 1e7)),
    ),
    max_size=60,
)


@given(LINES, st.integers(1, 9))
def test_a_digest_does_not_depend_on_how_the_log_came(
    shapes: list[tuple[object, float | None]], size: int
) -> None:
    """In one go, in pieces, or stored and read again between them."""
    lines = [
        done(n, ms) if make is done else failed(n, words(n % 7), ms=ms) for n, (make, ms) in enumerate(shapes)
    ]

    pieces = [lines[n : n + size] for n in range(0, len(lines), size)]

    assert digested(*pieces) == digested(lines)
    assert msgspec.json.decode(msgspec.json.encode(digested(lines)), type=Digest) == digested(lines)


@given(st.lists(st.none() | st.floats(1, 1e7).map(lambda ms: round(ms, 1)), min_size=1, max_size=80))
def test_quantiles_are_within_five_per_cent(times: list[float | None]) -> None:
    """By nearest rank; None where the item took less than a millisecond; the slowest ones exactly."""
    timings = digested([done(n, ms) for n, ms in enumerate(times)]).timings
    ranked = sorted(times, key=lambda ms: ms or 0)

    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        expected = ranked[math.ceil(share * len(ranked)) - 1]
        found = timings.quantile(share, len(times))
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert abs(found - expected) <= 0.05 * expected + 0.1

    slowest = sorted((ms for ms in times if ms is not None), reverse=True)[:SLOWEST_MAX]
    assert [ms for ms, _ in timings.slowest] == slowest
    assert all(times[index] == ms for ms, index in timings.slowest)


def test_results_without_a_time_are_not_taken_for_quick() -> None:
    """An item that took its worker down had no clock; one whose input was wrong was quick."""
    digest = digested(
        [failed(0, kind="crashed"), failed(1, kind="timeout", ms=300.0), done(2, 100.0), failed(3)]
    )

    assert digest.timings.untimed == 1
    assert [digest.timings.quantile(share, 4) for share in (0.3, 0.6, 1.0)] == [None, 100.0, 300.0]


@pytest.mark.parametrize(
    "output", [b'{"duration_ms":5.0}', b'{"a":1,"duration_ms":5.0}', b'[{"a":",\\"duration_ms\\":5.0}\\n"}]']
)
def test_an_output_that_looks_like_a_time_is_none(output: bytes) -> None:
    """Only the line's own last member counts."""
    assert digested([done(0, output=output)]).timings.slow == 0
    assert digested([done(0, 7.0, output=output)]).timings.slowest == ((7.0, 0),)


def test_what_is_neither_failed_nor_slow_tells_nothing() -> None:
    """Such segments are not looked at: they cost a search."""
    assert not is_telling(a_segment(0, [done(n) for n in range(1000)]))
    assert is_telling(a_segment(0, [done(0), done(1, 1.0)]))
    assert is_telling(a_segment(0, [failed(0)]))


def test_many_failures_are_looked_at_in_steps() -> None:
    """So that whoever looks at them can let others work in between."""
    digesting = Digesting(Digest("j"), NOON)

    steps = sum(1 for _ in digesting.over([a_segment(0, [failed(n) for n in range(10 * STEP_FAILURES)])]))

    assert 10 <= steps <= 11


def test_few_failures_among_many_lines_are_looked_for_in_steps() -> None:
    """To find out that a line is none takes a while as well, whatever stands in it."""
    lines = [*(done(n, output=b'{"error":1}') for n in range(10_000)), failed(10_000)]
    digesting = Digesting(Digest("j"), NOON)

    steps = sum(1 for _ in digesting.over([a_segment(0, lines)]))

    assert steps >= sum(map(len, lines)) // STEP_LINES_BYTES
    assert digesting.digest == replace(digested(lines), tallies=digesting.digest.tallies)
    assert [tally.count for tally in digesting.digest.tallies] == [1]


@pytest.mark.parametrize("each", [done(7, 3.0), done(7, output=b'[{"x":1,"duration_ms":1}]')])
def test_many_times_are_noted_in_steps(each: bytes) -> None:
    """Whether they come by themselves or together, and whether they are times or only look like them."""
    number = 10 * STEP_PLACES
    together, alone = Digesting(Digest("j"), NOON), Digesting(Digest("j"), NOON)

    steps = [
        sum(1 for _ in together.over([a_segment(0, [each] * number)])),
        sum(1 for _ in alone.over([a_segment(n, [each]) for n in range(number)])),
    ]

    assert min(steps) >= 10
    assert together.digest == alone.digest
    assert together.digest.timings.slow in (0, number)


def test_large_results_are_looked_at_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever one is cut for it, each time is found once."""
    lines = [done(0, 3.0), done(1, output=b"12345"), done(2, 7.0), done(3, 5.0, output=b'",\\"duration_ms"')]
    whole = digested(lines)
    for size in range(1, 160):
        monkeypatch.setattr(digest, "STEP_BYTES", size)
        digesting = Digesting(Digest("j"), None)
        steps = sum(1 for _ in digesting.over([a_segment(0, lines)]))

        assert digesting.digest == whole
        assert steps >= sum(map(len, lines)) // (2 * size)
        assert is_telling(a_segment(0, lines[1:2])) == (len(lines[1]) > size)


def test_what_was_before_is_not_known() -> None:
    """A digest that began in the middle of its log counts from there on."""
    digesting = Digesting(Digest("j", done_before=5, failed_before=2), NOON)
    list(digesting.over([a_segment(5, [failed(5)])]))

    assert (digesting.digest.failures, digesting.digest.failed_before) == (1, 2)
