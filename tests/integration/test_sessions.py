"""How a browser comes in: sessions for its cookie, tickets for its EventSource."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.domain.caller import Role
from tests.integration.answers import Document, document_of, ended, events_of, problem_of, submitted
from tests.integration.callers import Keyed, bearer, serving_keys

COOKIE = "millpond_session"


@pytest.fixture
def browser(keyed: Keyed) -> Iterator[httpx.Client]:
    """A client that keeps cookies, and says where its page came from."""
    with keyed.stranger() as api:
        api.headers["Origin"] = keyed.server.url
        yield api


def sign_in(browser: httpx.Client, key: str) -> Document:
    return document_of(browser.post("/v1/session", json={"key": key}).raise_for_status())


def test_a_key_buys_a_session(keyed: Keyed, browser: httpx.Client) -> None:
    """It works like the key for the browser that has the cookie, and says who that is; no script can read it."""
    problem_of(browser.get("/v1/session"), 401)

    answer = browser.post("/v1/session", json={"key": keyed.keys["ann"]})

    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie  # over http a browser would not take it
    assert keyed.keys["ann"] not in cookie
    assert document_of(answer)["expires_at"]
    assert document_of(browser.get("/v1/session")) == {"name": "ann", "role": "submit", "auth": "keys"}
    assert submitted(browser, "echo", [1])["submitted_by"] == "ann"


def test_a_session_can_be_begun_with_the_header_too(keyed: Keyed, browser: httpx.Client) -> None:
    """As curl would; over https the cookie is kept to https."""
    headers = bearer(keyed.keys["reader"]) | {"X-Forwarded-Proto": "https"}

    answer = browser.post("/v1/session", headers=headers)

    assert document_of(answer)["role"] == "read"
    assert "Secure" in answer.headers["set-cookie"].split("; ")


@pytest.mark.parametrize("body", ['{"key":"millpond_wrong"}', "{}", '{"key":""}'])
def test_a_wrong_key_buys_nothing(browser: httpx.Client, body: str) -> None:
    """401, and no cookie."""
    answer = browser.post("/v1/session", content=body, headers={"Content-Type": "application/json"})

    problem_of(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "set-cookie" not in answer.headers


def test_a_session_that_was_ended_is_over_for_copies_too(keyed: Keyed, browser: httpx.Client) -> None:
    """The cookie is taken back, and whoever kept a copy of it stays outside."""
    sign_in(browser, keyed.keys["ann"])
    copy = browser.cookies[COOKIE]

    answer = browser.delete("/v1/session")

    assert answer.status_code == 204
    assert COOKIE not in browser.cookies
    with keyed.stranger() as thief:
        thief.cookies.set(COOKIE, copy)
        problem_of(thief.get("/v1/jobs"), 401)


def test_a_session_that_was_tampered_with_is_none(keyed: Keyed, browser: httpx.Client) -> None:
    """No character of it may change, and none be missing."""
    sign_in(browser, keyed.keys["ann"])
    token = browser.cookies[COOKIE]
    with keyed.stranger() as thief:
        for place in range(0, len(token), 7):
            forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            for attempt in (forged, token[:place]):
                answer = thief.get("/v1/jobs", headers={"Cookie": f"{COOKIE}={attempt}"})
                assert answer.status_code == 401, attempt


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "http://127.0.0.1:1", "http://localhost", "http://["]
)
def test_a_write_with_a_cookie_comes_from_our_own_page(
    keyed: Keyed, browser: httpx.Client, origin: str | None
) -> None:
    """403 from anywhere else, before anything happens; to read, and with a key, the origin does not matter."""
    sign_in(browser, keyed.keys["ann"])
    del browser.headers["Origin"]
    headers = {} if origin is None else {"Origin": origin}
    body = {"task": "echo", "items": [1], "label": f"from {origin}"}

    problem_of(browser.post("/v1/jobs", json=body, headers=headers), 403)
    problem_of(browser.delete("/v1/session", headers=headers), 403)

    assert document_of(browser.get("/v1/jobs", params={"q": f"from {origin}"}, headers=headers))["jobs"] == []
    answer = browser.post("/v1/jobs", json=body, headers=headers | bearer(keyed.keys["ann"]))
    assert answer.status_code in (200, 202)


def test_no_other_site_signs_a_browser_in(keyed: Keyed, browser: httpx.Client) -> None:
    """Else its user would work under a name that is another's."""
    body = {"key": keyed.keys["bob"]}

    problem_of(browser.post("/v1/session", json=body, headers={"Origin": "https://evil.example"}), 403)


def test_a_ticket_opens_one_jobs_events_and_nothing_else(keyed: Keyed, ann: httpx.Client) -> None:
    """Without a key; every event of the job comes, but no new ticket."""
    job = submitted(ann, "echo", [1, 2, 3])
    other = submitted(ann, "echo", [1])
    events = ended(ann, job["id"])["links"]["events"]
    ticket = httpx.URL(events).params["ticket"]
    with keyed.stranger() as viewer:
        with viewer.stream("GET", events) as stream:
            *_, end = events_of(stream)
        assert end.name == "end"
        assert end.document["links"]["events"] == f"/v1/jobs/{job['id']}/events"

        for path in (
            f"/v1/jobs/{job['id']}",
            f"/v1/jobs/{other['id']}/events",
            "/v1/jobs",
            f"/v1/jobs/{job['id']}/results",
        ):
            problem_of(viewer.get(path, params={"ticket": ticket}), 401)
        problem_of(viewer.post(f"/v1/jobs/{job['id']}/cancel", params={"ticket": ticket}), 401)
        problem_of(viewer.post(f"/v1/jobs/{job['id']}/events", params={"ticket": ticket}), 401)
        problem_of(viewer.get(events[:-1]), 401)
        viewer.cookies.set(COOKIE, ticket)
        problem_of(viewer.get("/v1/jobs"), 401)


def test_an_admins_ticket_is_to_the_job_it_looked_at(
    keyed: Keyed, ann: httpx.Client, boss: httpx.Client
) -> None:
    """Whoever's that is."""
    job = ended(ann, submitted(ann, "echo", [1])["id"])
    events = document_of(boss.get(f"/v1/jobs/{job['id']}"))["links"]["events"]
    with keyed.stranger() as viewer:
        assert viewer.get(events).status_code == 200


def test_a_job_with_tickets_has_one_etag(ann: httpx.Client) -> None:
    """A ticket is another each time; that does not make it another job."""
    job = ended(ann, submitted(ann, "echo", [1])["id"])
    first = ann.get(f"/v1/jobs/{job['id']}")

    assert (
        ann.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    )


def test_what_a_key_gave_goes_with_it(keyed: Keyed, browser: httpx.Client) -> None:
    """A revoked key's requests, sessions and tickets end at once; those of another key of the name go on."""
    key, other = keyed.new_key("eve", Role.SUBMIT), keyed.new_key("eve", Role.SUBMIT)
    sign_in(browser, key)
    job = submitted(browser, "echo", [1])
    kept = [entry for entry in keyed.file.listed() if entry.name == "eve"]

    assert keyed.file.revoke("eve", kept[0].id) == 1

    problem_of(browser.get("/v1/jobs"), 401)
    with keyed.stranger() as api:
        problem_of(api.get("/v1/jobs", headers=bearer(key)), 401)
        problem_of(api.get(job["links"]["events"]), 401)
        assert api.get("/v1/jobs", headers=bearer(other)).status_code == 200
    keyed.file.revoke("eve")


def test_a_session_outlives_a_restart(tmp_path: Path) -> None:
    """Its cookie is as good with the next process on the same data, until it is ended."""
    with serving_keys(tmp_path) as keyed, keyed.stranger() as browser:
        browser.headers["Origin"] = keyed.server.url
        sign_in(browser, keyed.keys["ann"])
        keyed.server.end()
        keyed.server.start()

        assert document_of(browser.get("/v1/session"))["name"] == "ann"
        assert (tmp_path / "data/secret").stat().st_mode & 0o777 == 0o600


def test_a_session_that_was_ended_is_over_after_a_restart_too(tmp_path: Path) -> None:
    """A copy of its cookie stays outside, also where the process was killed right after the answer."""
    with serving_keys(tmp_path) as keyed, keyed.stranger() as browser, keyed.stranger() as thief:
        browser.headers["Origin"] = keyed.server.url
        sign_in(browser, keyed.keys["ann"])
        thief.cookies.set(COOKIE, browser.cookies[COOKIE])
        assert document_of(thief.get("/v1/session"))["name"] == "ann"

        browser.delete("/v1/session").raise_for_status()
        keyed.server.kill()
        keyed.server.start()

        problem_of(thief.get("/v1/session"), 401)
        assert (tmp_path / "data/ended-sessions").stat().st_mode & 0o777 == 0o600


def test_where_there_are_no_keys_nobody_needs_a_session(api: httpx.Client) -> None:
    """Everybody is the one anonymous admin; to sign in is harmless, and gives no cookie."""
    who = {"name": None, "role": "admin", "auth": "none"}

    assert document_of(api.get("/v1/session")) == who
    answer = api.post("/v1/session", json={"key": "whatever"})
    assert document_of(answer) == who
    assert "set-cookie" not in answer.headers
    assert api.delete("/v1/session").status_code == 204
    assert "ticket" not in submitted(api, "echo", [1])["links"]["events"]
