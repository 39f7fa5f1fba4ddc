"""What /metrics says is what happened."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.server import Server
from tests.conftest import serving
from tests.integration.answers import client, ended, submitted
from tests.waiting import eventually

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service of its own, whose figures nobody else changes."""
    with serving(tmp_path_factory.mktemp("metrics")) as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    with client(server) as api:
        yield api


def scraped(api: httpx.Client) -> dict[str, float]:
    """Every sample, by its name and labels."""
    text = api.get("/metrics").raise_for_status().text
    return {
        f"{name}{{{labels}}}" if labels else name: float(value)
        for name, labels, value in SAMPLE.findall(text)
    }


def test_results_are_counted_by_outcome(api: httpx.Client) -> None:
    """With their bytes; jobs by status."""
    before = scraped(api)
    job = ended(api, submitted(api, "risky", [5, 1, 1])["id"])
    after = scraped(api)

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert grown('millpond_results_total{outcome="succeeded"}') == 2
    assert grown('millpond_results_total{outcome="failed"}') == 1
    assert grown("millpond_result_bytes_total") == len(api.get(job["links"]["results"]).content)
    assert grown('millpond_jobs{status="completed"}') == 1
    assert after["millpond_results_unwritten_bytes"] == after["millpond_storage_failing"] == 0


def test_what_waits_and_what_runs_is_told(api: httpx.Client) -> None:
    """Items, and the workers that have them."""
    job = submitted(api, "sleep_for", [30] * 5, chunksize=1)

    eventually(lambda: scraped(api)["millpond_items_running"] == 2, 10, "two run")
    eventually(lambda: scraped(api)["millpond_items_waiting"] == 3, 10, "three wait")
    found = scraped(api)
    api.post(job["links"]["cancel"])
    ended(api, job["id"])

    assert found['millpond_workers{pool="cpu",state="busy"}'] == 2
    assert found['millpond_worker_restarts_total{pool="cpu"}'] >= 0


def test_requests_are_counted_by_route_and_status(api: httpx.Client) -> None:
    """By template, so that their number is bounded; refusals and unknown addresses too."""
    for path in ("/v1/jobs/unknown", "/v1/jobs/unknown-too", "/nothing/here", "/v1/jobs?limit=0"):
        api.get(path)
    api.head("/v1/tasks")

    found = scraped(api)

    assert found['millpond_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}'] == 2
    assert found['millpond_http_requests_total{method="GET",route="none",status="404"}'] == 1
    assert found['millpond_http_requests_total{method="GET",route="/v1/jobs",status="422"}'] == 1
    assert found['millpond_http_requests_total{method="HEAD",route="/v1/tasks",status="200"}'] == 1


def test_readers_of_streams_are_counted_while_they_read(api: httpx.Client) -> None:
    """And no longer."""
    name = 'millpond_sse_readers{stream="job"}'
    job = submitted(api, "sleep_for", [30])
    with api.stream("GET", job["links"]["events"]) as response:
        pieces = response.iter_raw()
        next(pieces)
        assert scraped(api)[name] == 1
    eventually(lambda: scraped(api)[name] == 0, 10, "nobody reads")
    api.post(job["links"]["cancel"])
    ended(api, job["id"])


def test_commits_and_the_loop_are_timed(api: httpx.Client) -> None:
    """Histograms that count what happened, up to infinity."""
    submitted(api, "sqrt", [1])

    eventually(lambda: scraped(api)["millpond_event_loop_lag_seconds_count"] > 1, 10, "it ticks")
    found = scraped(api)

    for name in ("millpond_store_commit_seconds", "millpond_event_loop_lag_seconds"):
        assert found[f'{name}_bucket{{le="+Inf"}}'] == found[f"{name}_count"] > 0
    assert found["millpond_event_loop_lag_seconds_max"] > 0


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
def test_prometheus_gets_the_format_it_asks_for(api: httpx.Client, accept: str, media_type: str) -> None:
    """Text, or OpenMetrics, which ends in `# EOF`."""
    response = api.get("/metrics", headers={"Accept": accept})

    assert response.headers["content-type"].partition(";")[0] == media_type
    assert response.text.endswith("# EOF\n") == ("openmetrics" in media_type)


def test_every_metric_is_documented_as_it_is(api: httpx.Client) -> None:
    """docs/metrics.md has a row for each, with its type, labels and help."""
    text = api.get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\w+) (.*)$", text, re.MULTILINE))
    document = (Path(__file__).parents[2] / "docs/metrics.md").read_text()

    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+) \|$", document, re.MULTILINE)

    told = {name: (kind, help_) for name, kind, _, help_ in rows}
    assert told == {name: (kinds[name], helps[name]) for name in kinds if name.startswith("millpond_")}
    for name, _, labels, _ in rows:
        pattern = rf"^{name}(?:_bucket)?\{{(.+)\}} "
        found = {
            label
            for sample in re.findall(pattern, text, re.MULTILINE)
            for label in re.findall(r"(\w+)=", sample)
        }
        assert found == set(re.findall(r"`(\w+)`", labels)) | (
            {"le"} if told[name][0] == "histogram" else set()
        )
