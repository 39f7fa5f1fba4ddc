"""Items that run together, since each is next to nothing, fail apart."""

from collections.abc import Iterator

import httpx
import pytest

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import client, ran

ITEMS = 20_000
BAD = ITEMS - 100


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("data"), tasks="tests.unit.odd_tasks") as running:
        yield running


@pytest.fixture
def api(service: Server) -> Iterator[httpx.Client]:
    with client(service) as api:
        yield api


@pytest.mark.parametrize(
    ("item", "kind"),
    [("die", "crashed"), ("sleep", "timeout"), ("wrong", "exception"), ("nan", "invalid_output")],
)
def test_one_of_many_that_run_together_fails_alone(api: httpx.Client, item: str, kind: str) -> None:
    """By then items are measured to be tiny; all others have their results, once."""
    items = [*range(BAD), item, *range(BAD + 1, ITEMS)]
    lines = ran(api, "turned", items, item_timeout_seconds=0.3)

    failed = [line for line in lines if "error" in line]
    assert [(line["index"], line["error"]["kind"]) for line in failed] == [(BAD, kind)]
    assert "attempts" not in failed[0]
    assert [line["index"] for line in lines] == list(range(ITEMS))
    assert all(line["output"] == line["index"] for line in lines if "output" in line)


def test_a_large_array_is_split_in_slices(api: httpx.Client) -> None:
    """Above 256 KiB a JSON body is not split at one go; its items are the same."""
    items = [[number, "],", {"a": number}] for number in range(ITEMS)]

    lines = ran(api, "turned", items, metadata={"items": [1, [2]]})

    assert [line["output"] for line in lines] == items
