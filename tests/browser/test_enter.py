"""The way in, in a real browser."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.test_page import browser, pytestmark, results, state, submit
from tests.integration.callers import serving_keys

__all__ = ["browser", "pytestmark"]


def test_a_key_opens_the_page_until_the_session_ends(browser: Browser, tmp_path: Path) -> None:
    """A wrong key says so; with a right one the page works as without any, events included, also when loaded again."""
    with serving_keys(tmp_path) as keyed:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{keyed.server.url}/")
        form = page.get_by_role("dialog", name="Sign in")
        form.get_by_label("Key").fill("millpond_wrong")
        form.get_by_role("button", name="Sign in").click()
        expect(form.get_by_role("alert")).to_contain_text("no such key")

        form.get_by_label("Key").fill(keyed.keys["ann"])
        form.get_by_role("button", name="Sign in").click()
        expect(form).to_be_hidden()
        submit(page, task="sqrt", items="[16, 25]")
        expect(state(page)).to_have_text("Completed")
        expect(results(page).get_by_role("listitem")).to_have_count(2)
        page.reload()
        expect(state(page)).to_have_text("Completed")
        expect(page.get_by_text("submitted by ann")).to_be_visible()

        context.clear_cookies()
        page.reload()
        expect(form).to_be_visible()
        context.close()
