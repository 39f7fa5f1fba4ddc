"""The page in a real browser: what it shows of real jobs.

Every test also asserts that nothing went wrong unseen: no console error, no page error, and no request to
anybody but the service itself.
"""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
    "--disable-dev-shm-usage",
]
WAIT_MS_MAX = 20_000

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists() and "CI" not in os.environ, reason=f"no {CHROMIUM}; in CI that is an error"
)


class Server(Protocol):
    """What `tests/conftest.py` runs for us."""

    url: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for this file; each test has its own context."""
    expect.set_options(timeout=WAIT_MS_MAX)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """What went wrong in the page.  A test that provokes something takes it out again."""
    faults: list[str] = []
    yield faults
    assert faults == []


@pytest.fixture
def page(browser: Browser, server: Server, faults: list[str]) -> Iterator[Page]:
    """The list of jobs, opened."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
    page.on("request", lambda request: None if _is_own(request.url, server) else faults.append(request.url))
    page.goto(f"{server.url}/")
    yield page
    context.close()


def test_a_submitted_form_leads_to_its_results(page: Page) -> None:
    """A JSON array becomes a job; the page goes there, shows its results, and the list shows the job."""
    submit(page, task="sqrt", items="[16, 25, 22500]", label="three roots")

    expect(page.get_by_role("heading", level=1)).to_have_text("sqrt three roots")
    expect(state(page)).to_have_text("Completed")
    expect(results(page).get_by_role("listitem")).to_have_count(3)
    expect(results(page).get_by_text("150", exact=True)).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
    expect(page.get_by_role("navigation").get_by_role("status")).to_have_text("Finished")

    page.get_by_role("main").get_by_role("link", name="Jobs").click()
    row = page.get_by_role("list", name="Jobs, newest first").get_by_role("listitem").first
    expect(row).to_contain_text("sqrt three roots")
    expect(row).to_contain_text("Completed")
    expect(row).to_contain_text("3 items")


def test_a_failing_item_shows_its_failure(page: Page) -> None:
    """Of JSON lines one fails: its kind, type, message and traceback are there, and the bar shows it."""
    submit(page, task="risky", items="4\n5\n6\n")

    failure = page.get_by_role("region", name="Failures").get_by_role("listitem")
    expect(failure).to_contain_text("#1")
    expect(failure).to_contain_text("ValueError")
    expect(failure).to_contain_text("exception")
    expect(failure.get_by_text("Traceback")).to_be_hidden()
    failure.get_by_text("ValueError").first.click()
    expect(failure.get_by_text("Traceback")).to_be_visible()
    expect(results(page).get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuetext", "100 %, 1 failed")


def test_a_picture_appears(page: Page) -> None:
    """A chosen file is uploaded as an item, and the picture that the task makes of it is really loaded."""
    png = io.BytesIO()
    Image.new("RGB", (320, 200), "teal").save(png, "PNG")
    form = open_form(page)
    form.get_by_label("Task").select_option("resize_image")
    form.get_by_label("Files").set_input_files(
        {"name": "pond.png", "mimeType": "image/png", "buffer": png.getvalue()}
    )
    expect(form).to_contain_text("1 chosen: pond.png")
    form.get_by_role("button", name="Submit job").click()

    picture = results(page).get_by_role("img", name="pond.jpg")
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def test_a_job_can_be_cancelled(page: Page) -> None:
    """Cancel ends a running job, and then there is nothing left to cancel."""
    submit(page, task="sleep_for", items=str([60] * 40))
    expect(state(page)).to_have_text("Running")
    expect(page.get_by_role("navigation").get_by_role("status")).to_have_text("Live")

    page.get_by_role("button", name="Cancel").click()

    expect(state(page)).to_have_text("Cancelled")
    expect(page.get_by_role("list", name="Items")).to_contain_text(re.compile(r"\d+ cancelled"))
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(page.get_by_role("region", name="Results")).to_contain_text(re.compile("None$", re.MULTILINE))


def test_an_answer_that_the_stream_overtook_changes_nothing(page: Page) -> None:
    """The job ends before the answer to Cancel arrives, which says that it is being cancelled."""

    def held_up(route: Route) -> None:
        answer = route.fetch()
        expect(state(page)).to_have_text("Cancelled")
        route.fulfill(response=answer)

    page.clock.install()
    page.route("**/cancel", held_up)
    submit(page, task="sleep_for", items="[60]")
    expect(state(page)).to_have_text("Running")

    with page.expect_response("**/cancel") as answer:
        page.get_by_role("button", name="Cancel").click()
    assert answer.value.json()["status"] == "cancelling"
    page.clock.run_for(1000)  # so that whatever the page has yet to draw is drawn

    expect(state(page)).to_have_text("Cancelled")


def test_a_refused_job_says_why(page: Page, faults: list[str]) -> None:
    """The server's problem is shown in the form, and what was written is still there."""
    form = open_form(page)
    form.get_by_label("Task").select_option("sqrt")
    form.get_by_label("Items").fill("[1, 4, 9]")
    form.get_by_label("Parameters").fill('{"no_such_parameter": 1}')
    form.get_by_role("button", name="Submit job").click()

    expect(form.get_by_role("alert")).to_contain_text("no_such_parameter")
    expect(form.get_by_label("Items")).to_have_value("[1, 4, 9]")
    assert "422" in faults.pop()  # the browser itself reports every refusal


def test_a_job_that_is_not_there_says_so(page: Page, server: Server, faults: list[str]) -> None:
    """The address of a job that never existed shows the server's 404."""
    page.goto(f"{server.url}/jobs/never-was")

    expect(page.get_by_role("alert")).to_be_visible()
    assert "404" in faults.pop()


def test_a_lost_connection_is_shown_until_it_is_back(page: Page, faults: list[str]) -> None:
    """Offline the page says "Reconnecting"; online again it says "Live" without a reload."""
    connection = page.get_by_role("navigation").get_by_role("status")
    expect(connection).to_have_text("Live")

    page.context.set_offline(True)
    expect(connection).to_have_text("Reconnecting")
    page.context.set_offline(False)

    expect(connection).to_have_text("Live")
    assert all("ERR_INTERNET_DISCONNECTED" in fault for fault in faults)
    faults.clear()


def test_the_form_opens_and_closes_by_keyboard(page: Page) -> None:
    """`n` opens the form with the task to choose in focus, Escape closes it."""
    expect(page.get_by_role("navigation").get_by_role("status")).to_have_text("Live")
    page.keyboard.press("n")
    expect(page.get_by_label("Task")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_phone_has_no_sideways_scrolling(page: Page) -> None:
    """At 390 px both views fit, long labels and wide results included."""
    page.set_viewport_size({"width": 390, "height": 844})
    submit(page, task="echo", items=f'["{"long" * 200}"]', label="label " * 30)
    expect(state(page)).to_have_text("Completed")
    expect(results(page).get_by_role("listitem")).to_have_count(1)
    assert width_of(page) <= 390

    page.get_by_role("main").get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("list", name="Jobs, newest first").get_by_role("listitem").first).to_be_visible()
    assert width_of(page) <= 390


def open_form(page: Page) -> Locator:
    """The form for a new job, open and filled with the tasks there are."""
    page.get_by_role("main").get_by_role("button", name="New job").click()
    form = page.get_by_role("dialog", name="New job")
    expect(form.get_by_role("option", name="sqrt", exact=True)).to_be_attached()
    return form


def submit(page: Page, *, task: str, items: str, label: str = "") -> None:
    """Submit a job by form, and be on its page."""
    form = open_form(page)
    form.get_by_label("Task").select_option(task)
    form.get_by_label("Items").fill(items)
    form.get_by_label("Label").fill(label)
    form.get_by_role("button", name="Submit job").click()
    expect(page).to_have_url(re.compile(r"/jobs/[^/]+$"))


def state(page: Page) -> Locator:
    """The word for the job's state."""
    return page.get_by_role("main").get_by_role("status")


def results(page: Page) -> Locator:
    """The card with the job's newest results."""
    return page.get_by_role("region", name="Results")


def width_of(page: Page) -> int:
    """How wide the page is, what sticks out included."""
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width


def _is_own(url: str, server: Server) -> bool:
    return url.startswith((f"{server.url}/", "data:", "blob:"))
