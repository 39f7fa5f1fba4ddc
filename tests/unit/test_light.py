"""Small items run together as they would run one by one."""

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.suspicion import RANGES_MAX, Suspects
from bench.profile import fresh_marks
from tests.unit.lone_worker import CHUNK_ID, FIRST, LoneWorker, a_lone_worker
from tests.waiting import eventually
from workers.calling import calls_of, decoded
from workers.context import Here
from workers.interrupt import SIGNAL, Why
from workers.report import Order, Report, Work
from workers.task import discover
from workers.wire import BLOCK_ITEMS, Frame, Kind

MODULES = ("tests.unit.odd_tasks", "workers.tasks")
ODD = [
    *("nan", "surrogate", "object", "exit", "wrong", "deep", "print", "stderr", "print and raise"),
    *("slow", "flush", "same", "set", "progress", "struck", "forget"),
    *("seven", "stop", "interrupt", "leave"),
]
_TIME = re.compile(rb',"duration_ms":[0-9.]+')

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)
numbers = st.one_of(
    *(
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.sampled_from([True, "1", "1.5", "x", {"x": 2}, [1], None]),
    )
)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "times": st.sampled_from([1, 2, "1", 1.5, None]),
        "value": json_values | st.sampled_from(ODD),
        "note": st.sampled_from(["", "note", None, 1]),
        "tmies": st.just(1),
    },
)
not_json = st.sampled_from(
    [b"[1", b"2]", b"1 2", b"nul", b"\xff", b'"\xed\xa0\x80"', b"1e999", b"[[[", b"{}x"]
)


def lines_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[bytes]]:
    encoded = values.map(msgspec.json.encode)
    padded = st.builds(lambda line, end: line + end, encoded, st.sampled_from([b"", b" ", b"\r"]))
    return st.lists(encoded | padded, min_size=1, max_size=80)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneWorker]:
    with a_lone_worker(tmp_path_factory.mktemp("files"), *MODULES) as worker:
        yield worker


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneWorker]:
    """A worker that a test may end."""
    with a_lone_worker(tmp_path_factory.mktemp("files"), *MODULES) as worker:
        yield worker


def told(frames: list[Frame]) -> dict[str, Any]:
    """What frames say, however it is spread over them; without times, which differ."""
    parts = [frame for frame in frames if frame.kind is Kind.PART]
    for before, after in pairwise(parts):
        assert after.first >= before.first + before.count
    return {
        "lines": _TIME.sub(b"", b"".join(frame.body for frame in parts)),
        "failed": sum(frame.failed for frame in parts),
        "count": sum(frame.count for frame in parts),
        "rest": [
            (frame.kind, frame.first, frame.body)
            for frame in frames
            if frame.kind in (Kind.LOG, Kind.PROGRESS, Kind.UNLUCKY)
        ],
    }


def run_both_ways(worker: LoneWorker, task: str, lines: list[bytes], **order: Any) -> dict[str, Any]:
    """What a worker says of items that run together: the same as of those that run one by one.

    Of the latter it may decode all before the first runs, but for those that have a chunk of their own.
    """

    def alone() -> list[Frame]:
        sent = (
            worker.run(task, [line], light=False, first=FIRST + at, **order) for at, line in enumerate(lines)
        )
        return [frame for frames in sent for frame in frames]

    told_of = []
    manners: list[Callable[[], list[Frame]]] = [alone]
    manners += (partial(worker.run, task, lines, light=light, **order) for light in (False, True))
    for run in manners:
        worker.run("turned", [b'"forget"'], light=False)
        told_of.append(told(run()))
    by_itself, apart, together = told_of
    assert apart == by_itself
    assert together == apart
    return together


@settings(max_examples=60)
@given(
    task=st.sampled_from(["square", "sqrt", "halved", "maybe", "counted", "doubled"]),
    lines=lines_of(numbers),
    attempts=st.integers(1, 2),
)
@example("square", [b"-0", b" 7", b"%d" % 2**70, b"-%d" % 2**63, b"9" * 300] * 60, 1)
@example("square", [b"1"] * 300 + [b"2.0", b"true", b'"3"'], 1)
@example("counted", [b'"x"', b'"\\u00e9\\n"', b'"1.5"', b'""'] * 100, 1)
@example("halved", [b"-0", b"4", b"%d" % 2**70, b"-0.0"] * 40, 1)
@example("sqrt", [b"4"] * 40 + [b"-1"] + [b"1e308"] * 300, 1)
@example("doubled", [b"%d" % n for n in range(1100)], 1)
def test_numbers_have_the_same_lines(
    worker: LoneWorker, task: str, lines: list[bytes], attempts: int
) -> None:
    """Byte for byte: converted, refused, failed and printed alike."""
    run_both_ways(worker, task, lines, max_attempts=attempts)


@settings(max_examples=60)
@given(lines=lines_of(json_values | st.sampled_from(ODD)), attempts=st.integers(1, 2))
@example([b"1"] * 100 + [b'"nan"'] + [b"2.5"] * 100 + [b'"same"'] * 300, 1)
@example([b'"print"', b"1"] * 100, 1)
@example([b'"deep"'] * 2, 1)
@example([b"1"] * 70 + [b'"stop"', b"2", b'"interrupt"', b"3", b'"seven"', b'"leave"'] * 40, 2)
def test_outputs_of_every_kind_have_the_same_lines(
    worker: LoneWorker, lines: list[bytes], attempts: int
) -> None:
    """Also an object that changes after it was returned, and what has no form."""
    run_both_ways(worker, "turned", lines, max_attempts=attempts)


@settings(max_examples=100)
@given(
    lines=lines_of(arguments | st.lists(json_values | st.sampled_from(ODD), max_size=4)),
    params=st.dictionaries(st.sampled_from(["times", "value", "note"]), st.sampled_from([1, "2", "x"])),
    key_field=st.sampled_from([None, "value", "times"]),
    attempts=st.integers(1, 2),
)
@example([b'{"value":%d}' % n for n in range(600)], {"times": 1}, None, 1)
@example([b'{"times":1,"value":%d}' % n for n in range(600)] + [b'[1,"deep"]'], {}, "value", 1)
@example([b'{"value":"deep"}', b'{"value":"same"}'] * 200, {"times": 2, "note": "x"}, "value", 2)
@example([b'{"value":1,"times":"2"}', b'{"value":"wrong"}', b"1"] * 99, {"times": 1, "value": 3}, "times", 1)
@example([b"[1,2]", b"[1]", b"[1,2,null,4]", b'{"tmies":1}'] * 100, {"value": 1}, "tmies", 1)
def test_items_by_name_have_the_same_lines(
    worker: LoneWorker, lines: list[bytes], params: dict[str, Any], key_field: str | None, attempts: int
) -> None:
    """Objects, arrays of arguments, and what the job's `params` add to them: the item's own comes first."""
    run_both_ways(worker, "named", lines, params=params, key_field=key_field, max_attempts=attempts)


@settings(max_examples=30)
@given(lines=lines_of(json_values), params=st.sampled_from([{}, {"value": 1}]))
def test_a_whole_item_and_none_have_the_same_lines(
    worker: LoneWorker, lines: list[bytes], params: dict[str, Any]
) -> None:
    """An object may be the argument itself, and a task that takes nothing is told of it."""
    whole = run_both_ways(worker, "turned", [b'{"value":7}', *lines], params=params)
    none = run_both_ways(worker, "nothing", [b"null", b"{}", *lines])

    assert b'{"index":100,"output":{"value":7}}' in whole["lines"]
    assert b'{"index":101,"output":0}' in none["lines"]


def test_what_runs_to_validate_an_item_is_that_items(mortal: LoneWorker) -> None:
    """The task's own code may do anything, and only the item that is marked is to blame."""
    frames = mortal.run("careful", [b'{"value":%d,"x":2}' % n for n in range(20)], light=True)

    assert not [frame for frame in frames if frame.kind is Kind.DONE]
    assert mortal.marks.read(mortal.marks.mark.value)[1] == 13


@settings(max_examples=60)
@given(lines=lines_of(numbers), bad=st.lists(not_json, min_size=1, max_size=3), at=st.integers(0, 80))
@example([b"1"], [b"[1", b"2]"], 0)
@example([b"1", b"2"], [b"[1", b",2], 3"], 1)
def test_a_line_that_is_not_json_harms_no_other(
    worker: LoneWorker, lines: list[bytes], bad: list[bytes], at: int
) -> None:
    """Even if it would be JSON together with the next."""
    together = run_both_ways(worker, "square", [*lines[:at], *bad, *lines[at:]])

    assert together["count"] == len(lines) + len(bad)


def test_what_is_not_alike_has_the_same_lines(worker: LoneWorker) -> None:
    """Keys, even of items that the task changes; later attempts, and common parameters."""
    lines = [b'{"value":%d}' % number for number in range(50)]

    assert b'"key":7' in run_both_ways(worker, "echo", lines, key_field="value")["lines"]
    assert b'"key":8' in run_both_ways(worker, "emptied", lines, key_field="value")["lines"]
    assert b'"attempts":2' in run_both_ways(worker, "echo", lines, attempt=2, max_attempts=3)["lines"]
    params = {"digits": 1}
    assert b'"output":0.3' in run_both_ways(worker, "halved", [b"0.5", b"0.66"], params=params)["lines"]


def test_an_item_that_takes_long_says_how_long(worker: LoneWorker) -> None:
    """A clock is read for each, though they run together."""
    frames = worker.run("turned", [b"1", b'"slow"', b"2"], light=True)

    lines = [json.loads(line) for frame in frames for line in frame.body.splitlines()]
    assert lines[1]["duration_ms"] >= 2


def test_results_do_not_wait_for_an_item_that_takes_long(worker: LoneWorker) -> None:
    """After 20 ms what there is is sent."""
    frames = worker.run("turned", [b"1", b'"flush"', b"2"], light=True)

    assert [frame.count for frame in frames if frame.kind is Kind.PART] == [2, 1]


def test_a_mark_is_no_older_than_a_millisecond_when_an_item_starts(worker: LoneWorker) -> None:
    """After an item that took long the next has its own: an interruption in vain is not for it."""
    worker.send("turned", [b"1", b'"slow"', b'"sleep"'], light=True, timeout_seconds=0.2)

    lines = _interrupted(worker, Why.TIMEOUT)

    assert worker.marks.read(worker.marks.meant.value)[1] == 2
    worker.marks.clear()
    assert [line.get("error", {}).get("kind") for line in lines] == [None, None, "timeout"]


def _interrupted(worker: LoneWorker, why: Why) -> list[dict[str, Any]]:
    """The results, if what the worker is at is ended as soon as it is asleep."""
    frames = []
    for frame in worker.reports():
        frames.append(frame)
        if frame.kind is Kind.PROGRESS:
            worker.marks.why.value = why
            worker.marks.meant.value = worker.marks.mark.value
            os.kill(_pid_of(worker), SIGNAL)
    return [
        json.loads(line) for frame in frames if frame.kind is Kind.PART for line in frame.body.splitlines()
    ]


def test_a_signal_that_comes_between_two_items_interrupts_neither(worker: LoneWorker) -> None:
    """The one that was meant has ended."""
    worker.marks.why.value = Why.TIMEOUT
    worker.marks.meant.value = (CHUNK_ID << 32) + 1

    frames = worker.run("turned", [b'"x"', b'"struck"', b'"y"'], light=True, timeout_seconds=1.0)

    worker.marks.clear()
    lines = [json.loads(line) for frame in frames for line in frame.body.splitlines()]
    assert [line.get("output") for line in lines] == ["x", "struck", "y"]


def test_a_recalled_chunk_ends_after_the_block(worker: LoneWorker) -> None:
    """And says where: what was not begun is for another worker."""
    worker.send("turned", [b"1"] * BLOCK_ITEMS + [b'"flush"'] + [b"1"] * 5_000, light=True)
    eventually(lambda: worker.marks.read(worker.marks.mark.value)[1] == BLOCK_ITEMS, 5, "the second block")
    worker.marks.limits[0].value = 0

    done = sum(frame.count for frame in worker.reports() if frame.kind is Kind.PART)

    worker.marks.clear()
    assert BLOCK_ITEMS <= done <= 2 * BLOCK_ITEMS


def test_a_cancelled_item_has_no_result_and_those_before_it_do(worker: LoneWorker) -> None:
    """The chunk ends there."""
    worker.send("turned", [b"1", b"2", b'"sleep"', b"3"], light=True)

    lines = _interrupted(worker, Why.CANCELLED)

    worker.marks.clear()
    assert [line["output"] for line in lines] == [1, 2]


def test_what_ends_a_worker_is_in_the_marked_block(mortal: LoneWorker) -> None:
    """The mark says which items to be careful with."""
    frames = mortal.run("turned", [b"1"] * 70 + [b'"die"'], light=True)

    assert not [frame for frame in frames if frame.kind is Kind.DONE]
    position = mortal.marks.read(mortal.marks.mark.value)[1]
    assert position is not None
    assert position <= 70 < position + BLOCK_ITEMS


@pytest.mark.parametrize("lines", [[b"1", b"2"], [b'{"x":1}', b'{"x":2}']])
@pytest.mark.parametrize("params", [{}, {"y": 1}])
def test_where_an_item_stood_is_told_by_its_own_frames(
    worker: LoneWorker, lines: list[bytes], params: dict[str, Any]
) -> None:
    """However it came to its call."""
    answer = run_both_ways(worker, "standing", lines, params=params)["lines"]

    for line in answer.splitlines():
        title, frame = json.loads(line)["output"].splitlines()
        assert frame.endswith("in standing"), title


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize(("key_field", "attempts"), [(None, 1), ("value", 1), (None, 2)])
def test_items_between_others_are_told_by_their_indexes(
    worker: LoneWorker, light: bool, key_field: str | None, attempts: int
) -> None:
    """In their lines; what else is said of them is told by their places in the chunk."""
    values = ["print", "wrong", "exit", "progress", "nan", "x", "surrogate", 1, "print and raise"]
    lines = [msgspec.json.encode({"value": value}) for value in values * 30]
    order: dict[str, Any] = {"key_field": key_field, "light": light, "max_attempts": attempts}
    ranges = [(FIRST, FIRST + 3), (1_000, 1_001), (2_000, 2_000 + len(lines) - 4)]
    where = [index for begin, end in ranges for index in range(begin, end)]

    apart = told(worker.run("turned", lines, ranges=ranges, **order))
    whole = told(worker.run("turned", lines, **order))

    index = re.compile(rb'^{"index":(\d+)', re.MULTILINE)
    places = [int(found) - FIRST for found in index.findall(whole["lines"])]
    assert [int(found) for found in index.findall(apart["lines"])] == [where[place] for place in places]
    assert index.sub(b"", apart.pop("lines")) == index.sub(b"", whole.pop("lines"))
    assert apart == whole


def test_items_are_decoded_only_if_each_is_a_line() -> None:
    """One over two lines, or a blank line, would shift all that follow."""
    assert decoded(b"1\n[2]\n", 2) == [1, [2]]
    assert decoded(b"[1\n,2]\n3\n4\n", 4) is None
    assert decoded(b"1\n\n2\n", 3) is None
    assert decoded(b"1 2\n", 1) is None
    assert decoded(b"1\n2\n", 2, int) == [1, 2]
    assert decoded(b"1\n\n2\n", 3, int) is None
    assert decoded(b"1\n2.0\n", 2, int) is None


@pytest.mark.parametrize(
    ("task", "lines", "params", "made"),
    [
        ("halved", [b"1", b"2"], {}, [1.0, 2.0]),
        ("halved", [b"1", b"2"], {"digits": 1}, [{"x": 1.0, "digits": 1}, {"x": 2.0, "digits": 1}]),
        ("halved", [b'{"x":1}', b"2"], {}, [{"x": 1.0}, {"x": 2.0}]),
        ("turned", [b'{"value":1}', b"[2]"], {}, [{"value": 1}, [2]]),
        (
            "named",
            [b"[1,2]", b'{"times":1,"value":3}'],
            {},
            [{"times": 1, "value": 2}, {"times": 1, "value": 3}],
        ),
        ("careful", [b'{"value":1}'], {}, None),
        ("halved", [b'{"x":1}', b'{"x":"y"}'], {}, None),
    ],
)
def test_calls_are_made_before_the_first_runs(
    task: str, lines: list[bytes], params: dict[str, Any], made: list[Any] | None
) -> None:
    """Of what validates without code of the task's; one item that is wrong has all made one by one."""
    body = b"".join(line + b"\n" for line in lines)
    frame = Frame(Kind.CHUNK, body, CHUNK_ID, 0, len(lines))
    order = Order(task, params, 1, 1, None, None, 0)
    report = Report(frame, order, (), fresh_marks(), lambda *_: None)
    calls_of_some = calls_of(Work(frame, order, discover(MODULES)[task], report, Here(report, 0)))
    calls = calls_of_some(slice(None)) if calls_of_some else None

    assert (list(calls.arguments) if calls else None) == made


def test_suspects_are_those_of_a_lost_range_and_in_the_end_all() -> None:
    """A job that loses workers on and on is not fast, but exact."""
    suspects = Suspects()
    suspects.add([(10, 20)])

    assert suspects.among([(19, 30)])
    assert suspects.among([(0, 11)])
    assert not suspects.among([(20, 30)])
    assert not suspects.among([(0, 10)])

    for number in range(RANGES_MAX):
        suspects.add([(number, number + 1)])
    assert suspects.among([(1_000, 1_001)])


def _pid_of(worker: LoneWorker) -> int:
    assert worker.process.poll() is None
    return worker.process.pid
