"""What an item means is decided by the task's signature alone, and a wrong one harms nobody else."""

import httpx
import pytest

from tests.integration.answers import Document, an_id, ran

SAME = [None, True, 0, -1.5, "a", "", [], [1, [2]], {}, {"value": 1}, {"a": {"b": None}}, "\u2028", 2**63]


def outputs(results: list[Document]) -> list[object]:
    assert all("output" in result for result in results), results
    return [result["output"] for result in results]


def test_one_parameter_that_admits_objects_is_the_whole_item(api: httpx.Client) -> None:
    """`echo` gives every JSON value back as it came, an object named like its parameter included."""
    assert outputs(ran(api, "echo", SAME)) == SAME


@pytest.mark.parametrize(
    ("task", "items", "expected"),
    [
        pytest.param("sqrt", [9, {"x": 16}, 2.25], [3.0, 4.0, 1.5], id="one parameter"),
        pytest.param(
            "slow_square",
            [{"x": 3, "seconds": 0}, {"seconds": 0.0, "x": 4}],
            [9, 16],
            id="an object is keyword arguments",
        ),
        pytest.param("crash_if", [[3, 4], {"x": 5, "bad": 6}], [3, 5], id="an array is positional arguments"),
        pytest.param("print_lines", [1, {"n": 2}], [1, 2], id="anything else is the first parameter"),
    ],
)
def test_an_item_becomes_arguments(
    api: httpx.Client, task: str, items: list[object], expected: list[object]
) -> None:
    """An object is keyword arguments, an array positional ones if two are required, else the first one's value."""
    assert outputs(ran(api, task, items)) == expected


def test_a_value_leaves_the_other_parameters_their_defaults(api: httpx.Client) -> None:
    """A number is the samples of `estimate_pi`, whose seed is then 0."""
    (short, long) = outputs(ran(api, "estimate_pi", [1000, {"samples": 1000, "seed": 0}]))

    assert short == long


def test_an_array_is_no_arguments_where_one_parameter_is_required(api: httpx.Client) -> None:
    """`[4, 0]` is one value for `slow_square`, and not the number it needs."""
    (result,) = ran(api, "slow_square", [[4, 0]])

    assert result["error"]["kind"] == "invalid_input"


@pytest.mark.parametrize("item", [None, {}])
def test_a_task_without_parameters_takes_null_or_an_empty_object(api: httpx.Client, item: object) -> None:
    """The task runs: what it fails with is its own error."""
    (result,) = ran(api, "unserializable", [item])

    assert result["error"]["kind"] == "invalid_output"


@pytest.mark.parametrize("item", [0, "x", [], {"x": 1}])
def test_a_task_without_parameters_takes_nothing_else(api: httpx.Client, item: object) -> None:
    """A value that no parameter can take is an invalid input."""
    (result,) = ran(api, "unserializable", [item])

    assert result["error"]["kind"] == "invalid_input"


def test_params_are_common_to_all_items_and_an_items_own_win(api: httpx.Client) -> None:
    """What an item leaves out comes from `params`, before the task's own default."""
    items = [{"samples": 10}, {"samples": 10, "seed": 2}, 10, {}]

    results = outputs(ran(api, "estimate_pi", items, params={"samples": 10, "seed": 1}))

    own = outputs(ran(api, "estimate_pi", [{"samples": 10, "seed": seed} for seed in (1, 2)]))
    assert results == [own[0], own[1], own[0], own[0]]


def test_key_field_names_each_result(api: httpx.Client) -> None:
    """The scalar of that name becomes the result's `key`, of failures too; where there is none, none."""
    items = [
        {"x": 4, "id": "four"},
        {"id": 7, "x": "no number"},
        {"x": 9},
        {"x": 1, "id": [1]},
        5,
        {"x": 1, "id": "é\n"},
    ]

    results = ran(api, "echo", items, key_field="id")

    assert [result.get("key") for result in results] == ["four", 7, None, None, None, "é\n"]
    assert ["key" in result for result in results] == [True, True, False, False, False, True]
    failures = ran(api, "sqrt", [{"x": "no number", "id": "a"}], key_field="id")
    assert (failures[0]["key"], failures[0]["error"]["kind"]) == ("a", "invalid_input")


def test_an_invalid_item_fails_alone(api: httpx.Client) -> None:
    """Of many items, those the task cannot take are `invalid_input`, each saying why; the others run."""
    bad = ["nine", None, {"y": 1}, {"x": 1, "y": 2}, [1], {}, {"x": "1e"}, {"x": None}]
    items = [value for item in bad for value in (4, item)] + [4]

    results = ran(api, "sqrt", items)

    assert [result["index"] for result in results] == [*range(len(items))]
    assert outputs(results[::2]) == [2.0] * (len(bad) + 1)
    errors = [result["error"] for result in results[1:-1:2]]
    assert [error["kind"] for error in errors] == ["invalid_input"] * len(bad)
    assert all(error["message"].startswith(("x:", "y:")) for error in errors), errors


def test_a_failure_says_what_was_raised_and_where(api: httpx.Client) -> None:
    """A task's own exception is `exception`, with type, message and a traceback of the task's code."""
    results = ran(api, "risky", [4, 5, 6])

    assert [results[0]["output"], results[2]["output"]] == [4, 6]
    error = results[1]["error"]
    assert (error["kind"], error["type"]) == ("exception", "ValueError")
    assert "5" in error["message"]
    assert "faults.py" in error["traceback"]
    assert "attempts" not in results[1]


def test_a_line_says_no_more_than_it_must(api: httpx.Client) -> None:
    """A quick first attempt without a key is `index` and `output` alone; one that had to wait was not quick."""
    assert {"index", "output"} in [line.keys() for line in ran(api, "echo", list(range(20)))]


def test_attempts_are_told_when_there_was_more_than_one(api: httpx.Client) -> None:
    """An item that raises is tried again, as often as the job says; its last outcome counts."""
    items = [[an_id("flaky"), 0], [an_id("flaky"), 1], [an_id("flaky"), 9]]

    results = ran(api, "flaky", items, max_attempts=3)

    assert [result.get("output") for result in results] == [1, 2, None]
    assert [result.get("attempts") for result in results] == [None, 2, 3]
    assert results[2]["error"]["type"] == "RuntimeError"


def test_a_crash_and_a_time_out_are_that_items_failures(api: httpx.Client) -> None:
    """Whoever takes its worker down, or takes too long, has a result that says so; the others run."""
    crashed = ran(api, "crash_if", [[1, 0], [0, 0], [2, 0]], chunksize=3)
    slow = ran(api, "sleep_for", [0, 30, 0], chunksize=3, item_timeout_seconds=0.3)

    assert [result.get("output") for result in crashed] == [1, None, 2]
    assert (crashed[1]["error"]["kind"], crashed[1]["error"]["signal"]) == ("crashed", "SIGKILL")
    assert [result.get("output") for result in slow] == [0.0, None, 0.0]
    assert slow[1]["error"]["kind"] == "timeout"
