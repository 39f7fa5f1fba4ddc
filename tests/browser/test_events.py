"""EventSource, as the browser has it, through deaths of the service."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.test_page import ARGUMENTS, CHROMIUM
from tests.conftest import serving
from tests.crash.live import ITEMS, KILLED_AT, killed_while_followed, opened
from tests.integration.answers import client

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists() and "CI" not in os.environ, reason=f"no {CHROMIUM}; in CI that is an error"
)

FOLLOW = """url => {
    window.seen = {lines: [], jobs: 0, ended: false};
    const source = new EventSource(url);
    source.addEventListener("job", () => { window.seen.jobs += 1; });
    source.addEventListener("results", event => {
        const {results} = JSON.parse(event.data);
        window.seen.lines.push(...results.map(result => result.index));
    });
    source.addEventListener("end", () => { window.seen.ended = true; source.close(); });
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_page()
        browser.close()


def test_an_event_source_misses_and_repeats_nothing_while_the_service_dies(
    page: Page, tmp_path: Path
) -> None:
    """The browser reconnects by itself, saying the last event's id; it ends with every line, once, in order."""
    with serving(tmp_path) as server:
        with client(server) as api:
            job_id = opened(api)
        page.goto(f"{server.url}/livez")
        page.evaluate(FOLLOW, f"/v1/jobs/{job_id}/events?include=results")

        killed_while_followed(server, job_id, lambda: int(page.evaluate("window.seen.lines.length")))

        page.wait_for_function("window.seen.ended", timeout=90_000)
        seen = page.evaluate("window.seen")
        with client(server) as api:
            log = [
                line["index"] for line in api.get(f"/v1/jobs/{job_id}/results?limit=10000").json()["results"]
            ]
    assert seen["jobs"] > len(KILLED_AT), "each connection began with the job"
    assert seen["lines"] == log
    assert sorted(log) == list(range(len(ITEMS)))
