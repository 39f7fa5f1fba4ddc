"""The tasks that ship: what they compute, and under which names they are found."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workers import File
from workers.files import BLOBS, Blobs
from workers.task import TaskDefinitionError, TaskSpec, discover, task
from workers.tasks.aggregation import Figures, TableError, aggregate_csv
from workers.tasks.numbers import echo, slow_square, sqrt, square
from workers.tasks.simulation import BLOCK_SAMPLES, estimate_pi

SHIPPED = {"echo", "sqrt", "square", "slow_square", "resize_image", "aggregate_csv", "estimate_pi"}
FAULTS = {
    *("burn", "risky", "exit_process", "segfault", "sleep_for", "hold_gil", "eat_memory", "hostile_error"),
    *("unserializable", "print_lines", "fork_grandchild", "flaky", "crash_if"),
}


@pytest.fixture(autouse=True)
def blobs(tmp_path: Path) -> Iterator[None]:
    token = BLOBS.set(Blobs(tmp_path / "files"))
    yield
    BLOBS.reset(token)


@pytest.fixture(scope="module")
def specs() -> Mapping[str, TaskSpec]:
    return discover(["workers.tasks", "workers.tasks.faults"])


def a_table(text: str, encoding: str = "utf-8") -> File:
    return File.from_bytes(text.encode(encoding), name="sales.csv")


# Discovery


def test_every_task_that_others_rely_on_is_found(specs: Mapping[str, TaskSpec]) -> None:
    """The names are a contract: documentation, benchmarks and other tools use them."""
    assert set(specs) == SHIPPED | FAULTS


def test_faults_are_loaded_only_where_they_are_named() -> None:
    """A service with the default settings has no task that ends its workers."""
    assert set(discover(["workers.tasks"])) == SHIPPED


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("echo", {"value": ...}),
        ("sqrt", {"x": ...}),
        ("square", {"x": ...}),
        ("slow_square", {"x": ..., "seconds": 1.0}),
        ("resize_image", {"image": ..., "width": 800, "height": 600, "quality": 85}),
        ("aggregate_csv", {"table": ..., "by": ..., "value": ...}),
        ("estimate_pi", {"samples": ..., "seed": 0}),
        ("burn", {"ms": ...}),
        ("risky", {"x": ...}),
        ("exit_process", {"code": ...}),
        ("segfault", {}),
        ("sleep_for", {"seconds": ...}),
        ("hold_gil", {"seconds": ...}),
        ("eat_memory", {"mib": ...}),
        ("hostile_error", {}),
        ("unserializable", {}),
        ("print_lines", {"n": ...}),
        ("fork_grandchild", {"seconds": ...}),
        ("flaky", {"token": ..., "fail_times": ...}),
        ("crash_if", {"x": ..., "bad": ...}),
    ],
)
def test_parameters_and_defaults_are_those_announced(
    specs: Mapping[str, TaskSpec], name: str, parameters: dict[str, object]
) -> None:
    """`...` marks a parameter that an item must give."""
    found = specs[name].parameters.values()
    assert {p.name: ... if p.default is p.empty else p.default for p in found} == parameters


@pytest.mark.parametrize("name", sorted(SHIPPED | FAULTS))
def test_every_task_describes_itself(specs: Mapping[str, TaskSpec], name: str) -> None:
    """A form, a client and a curl user know what to send: a sentence, and a type for each parameter."""
    described = specs[name].describe()
    assert described["description"].partition("\n")[0].endswith(".")
    properties = described["params_schema"].get("properties", {})
    assert all(name == "echo" or set(schema) & {"type", "anyOf"} for schema in properties.values())


def forms(spec: TaskSpec) -> list[str]:
    """The kinds of items a task takes, as its schema lists them."""
    schema = spec.describe()["item_schema"]
    kinds = (form.get("format") or form.get("type") or "any" for form in schema.get("anyOf", [schema]))
    return ["nothing" if "enum" in schema else kind for kind in kinds]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("echo", ["any"]),
        ("sqrt", ["object", "number"]),
        ("square", ["object", "integer"]),
        ("resize_image", ["object", "millpond-file"]),
        ("estimate_pi", ["object", "integer"]),
        ("crash_if", ["object", "array"]),
        ("segfault", ["nothing"]),
    ],
)
def test_items_take_the_forms_that_the_signature_suggests(
    specs: Mapping[str, TaskSpec], name: str, expected: list[str]
) -> None:
    """A single required parameter can be given bare, several as an array, any as an object."""
    assert [kind for kind in forms(specs[name]) if kind in expected] == expected


def test_the_file_parameters_are_known(specs: Mapping[str, TaskSpec]) -> None:
    """An upload becomes the picture or the table, nothing else."""
    files = {name: spec.file_parameter for name, spec in specs.items() if spec.file_parameter}
    assert files == {"resize_image": "image", "aggregate_csv": "table"}


def test_limits_of_a_picture_are_in_its_schema(specs: Mapping[str, TaskSpec]) -> None:
    """A form can refuse quality 101 before it is sent."""
    properties = specs["resize_image"].describe()["params_schema"]["properties"]
    assert (properties["quality"]["minimum"], properties["quality"]["maximum"]) == (1, 100)
    assert (properties["width"]["minimum"], properties["height"]["minimum"]) == (1, 1)


# Numbers


@given(st.floats(min_value=0, allow_infinity=False))
def test_sqrt_is_that_of_the_standard_library(x: float) -> None:
    """What `Pool.map(math.sqrt, …)` gives."""
    assert sqrt(x) == math.sqrt(x)


def test_sqrt_of_a_negative_number_is_an_error() -> None:
    """The failing item that examples use."""
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        sqrt(-1)


@given(st.integers())
def test_squares_are_exact(x: int) -> None:
    """Integers of any length, slowly or not."""
    assert square(x) == slow_square(x, 0) == x**2


def test_echo_gives_the_very_same_value() -> None:
    """Nothing is read into it."""
    value = {"nested": [1, None, "ü"]}
    assert echo(value) is value


# A table


def test_a_table_is_summed_up_by_group() -> None:
    """Groups come in the order they first appear, with decimal sums."""
    table = a_table("city,price\nRome,0.1\nOslo,-2\nRome,0.2\nRome,3e-1\n")
    result = aggregate_csv(table, "city", "price")
    assert list(result) == ["Rome", "Oslo"]
    assert result["Rome"] == Figures(count=3, sum=0.6, mean=0.2, min=0.1, max=0.3)
    assert result["Oslo"] == Figures(1, -2.0, -2.0, -2.0, -2.0)


def test_ten_dimes_are_a_dollar() -> None:
    """Sums do not collect the errors of binary fractions."""
    assert aggregate_csv(a_table("c,v\n" + "a,0.1\n" * 10), "c", "v")["a"].sum == 1.0


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_usual_dialects_are_understood(delimiter: str, ending: str) -> None:
    """Excel's byte order mark, delimiters and line breaks in quotes, blank lines, a missing last newline."""
    rows = ('"unit;, \t|"', "city", "price"), ("x", '"New ""\n"" York"', " 1.5 "), (), ("x", "Rome", "2")
    text = ending.join(delimiter.join(row) for row in rows)
    result = aggregate_csv(a_table(text, "utf-8-sig"), "city", "price")
    assert {city: figures.sum for city, figures in result.items()} == {'New "\n" York': 1.5, "Rome": 2.0}


def test_an_empty_cell_is_left_out() -> None:
    """A missing number is not zero, and changes neither count nor mean."""
    result = aggregate_csv(a_table("c,v\na,\na,4\nb,  \n"), "c", "v")
    assert result == {"a": Figures(1, 4.0, 4.0, 4.0, 4.0)}


def test_a_table_without_rows_has_no_groups() -> None:
    """The header alone is a valid table."""
    assert aggregate_csv(a_table("c,v\n"), "c", "v") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("city;price\n", "sales.csv has no column 'c' and 'v'; its columns are 'city', 'price'"),
        ("c,price\n", "sales.csv has no column 'v'; its columns are 'c', 'price'"),
        ("", "sales.csv is empty: its first line should name the columns"),
        ("c,v\na,1\nb,dear\n", "sales.csv, line 3: 'dear' in column 'v' is not a number"),
        ("c,v\na,nan\n", "sales.csv, line 2: 'nan' in column 'v' is not a number"),
        ("c,v\na,1e999\n", "sales.csv, line 2: '1e999' in column 'v' is not a number"),
        ('c;v\n"a\nb";1\na;1,5\n', "sales.csv, line 4: '1,5' in column 'v' is not a number"),
        ("c,v\na,1\nb\n", "sales.csv, line 3: the row ends after 1 cells"),
        (f"c,v\na,1\n{'b' * 200_000},1\n", "sales.csv, after line 2: field larger than field limit (131072)"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_place(text: str, message: str) -> None:
    """The file, the line and the columns there are: enough to mend the table without a search."""
    with pytest.raises(TableError) as caught:
        aggregate_csv(a_table(text), "c", "v")
    assert str(caught.value) == message


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_in_another_encoding_is_an_error(encoding: str) -> None:
    """Guessing would turn names into others silently."""
    with pytest.raises(TableError, match=r"^sales\.csv is not UTF-8 text"):
        aggregate_csv(a_table("c,v\nZürich,1\n", encoding), "c", "v")


def test_too_many_groups_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grouping by what is different in every row would fill memory and help nobody."""
    monkeypatch.setattr("workers.tasks.aggregation.GROUPS_MAX", 2)
    with pytest.raises(TableError, match=r"line 5: column 'c' has more than 2 different values"):
        aggregate_csv(a_table("c,v\na,1\nb,1\na,1\nd,1\n"), "c", "v")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-(10**6), 10**6)), min_size=1))
def test_every_row_counts_once(rows: list[tuple[str, int]]) -> None:
    """For any table the groups' figures are those of the plain definitions."""
    result = aggregate_csv(a_table("c,v\n" + "".join(f"{c},{v}\n" for c, v in rows)), "c", "v")
    for group, figures in result.items():
        values = [v for c, v in rows if c == group]
        expected = Figures(len(values), sum(values), sum(values) / len(values), min(values), max(values))
        assert (figures.count, figures.sum, figures.min, figures.max) == (
            *(expected.count, expected.sum),
            *(expected.min, expected.max),
        )
        assert figures.mean == pytest.approx(expected.mean)


# Monte Carlo


@pytest.mark.parametrize("samples", [1, 1000, BLOCK_SAMPLES, 3 * BLOCK_SAMPLES + 17])
def test_pi_is_estimated_within_its_error(samples: int) -> None:
    """Every sample counts once, whether or not the blocks come out even."""
    estimate = estimate_pi(samples, seed=7)
    assert estimate.samples == samples
    assert estimate.pi == 4 * estimate.inside / samples
    if samples > 1:
        assert abs(estimate.pi - math.pi) < 4 * estimate.standard_error
        assert estimate.standard_error == pytest.approx(1.64 / math.sqrt(samples), rel=0.1)


def test_the_same_seed_gives_the_same_estimate_and_another_one_another() -> None:
    """A retried item cannot change the answer, and items with different seeds add knowledge."""
    assert estimate_pi(10_000, 1) == estimate_pi(10_000, 1)
    assert estimate_pi(10_000, 1) != estimate_pi(10_000, 2)


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"samples": 10, "seed": -1}])
def test_impossible_experiments_are_invalid_input(
    specs: Mapping[str, TaskSpec], wrong: dict[str, int]
) -> None:
    """The schema refuses them before the task runs."""
    with pytest.raises(ValidationError):
        specs["estimate_pi"].arguments.validate_python(wrong)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("estimate_pi", lambda: estimate_pi(10)),
        ("aggregate_csv", lambda: aggregate_csv(a_table("c,v\na,1\n"), "c", "v")),
    ],
)
def test_outputs_have_the_form_that_their_schema_says(
    specs: Mapping[str, TaskSpec], name: str, run: Callable[[], object]
) -> None:
    """What is written down can be read back by the same type."""
    output = specs[name].output
    value = run()
    assert output.validate_json(output.dump_json(value)) == value


def test_a_task_whose_types_do_not_exist_is_named() -> None:
    """Of many modules nobody would know which."""

    @task
    def odd(x: "Missing") -> int:  # type: ignore[name-defined]  # noqa: F821 -- that is what is tested
        return 0

    with pytest.raises(TaskDefinitionError, match="task 'odd': name 'Missing' is not defined"):
        TaskSpec.of(odd)
