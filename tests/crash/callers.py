"""Callers that submit, follow, cancel and delete through every death of the service, and what they were promised.

Invariant: a caller writes down no more than it was told.
"""

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from bench.server import Server
from tests.crash.readers import Reader, Reading, events, follow
from tests.integration.answers import Document, a_picture
from tests.waiting import eventually_moving

T = TypeVar("T")

END_SECONDS_MAX = 180.0
"""After the last death: as long as there are more, a busy machine decides how much is done between two of them."""
RESEND_SECONDS = 0.1
VIEWS: dict[str, Reading] = {
    "completion": follow(""),
    "index": follow("&order=index"),
    "failed": follow("&status=failed"),
    "events": events("include=results"),
    "events by index": events("include=results&order=index"),
}
FINISHED = ("completed", "cancelled", "failed", "expired")


@dataclass
class Promise:
    """A job that was acknowledged, and what came of it as its caller knows."""

    id: str
    items: Sequence[Any]
    reader: Reader | None = None
    view: str = ""
    cancelling: bool = False
    """A cancellation was acknowledged before the job was finished."""
    deleted: bool = False
    short: bool = False
    """It may be gone at any time after its end."""


@dataclass
class Ledger:
    """What all callers know."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    promises: list[Promise] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    deaths: int = 0
    resent: int = 0
    flaws: list[str] = field(default_factory=list)


class Caller(threading.Thread):
    """Submits one job after the other, in every way there is, and does not give up."""

    def __init__(self, server: Server, ledger: Ledger, stop: threading.Event, name: str, seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self._server = server
        self._ledger = ledger
        self._stop_event = stop
        self._chance = random.Random(f"{seed} {name}")
        self._number = 0

    def run(self) -> None:
        try:
            with self._server.client() as self._api:
                while not self._stop_event.is_set():
                    self._one()
        except BaseException as error:
            with self._ledger.lock:
                self._ledger.flaws.append(f"{self.name}: {type(error).__name__}: {error}")

    def _one(self) -> None:
        self._number += 1
        kinds: list[Callable[[], Promise]] = [self._json, self._lines, self._lines, self._form]
        promise = self._chance.choice(kinds)()
        with self._ledger.lock:
            self._ledger.promises.append(promise)
        if promise.short:
            return
        match self._chance.choice(["follow", "follow", "cancel", "delete", "file", "leave"]):
            case "follow":
                promise.view = self._chance.choice(list(VIEWS))
                promise.reader = Reader(self._server, promise.id, VIEWS[promise.view])
                promise.reader.join(self._chance.random())
            case "cancel":
                answer = self._insist("POST", f"/v1/jobs/{promise.id}/cancel")
                promise.cancelling = answer["status"] in ("cancelling", "cancelled")
            case "delete":
                self._end_and_delete(promise)
            case "file":
                content = self._chance.randbytes(5_000)
                answer = self._insist("POST", "/v1/files", content=content)
                with self._ledger.lock:
                    self._ledger.files[answer["file"]] = content

    def _json(self) -> Promise:
        """In one body; the key makes a lost answer harmless."""
        items = self._items(self._chance.randrange(1, 60))
        body: Document = {"task": "sleep_for", "items": items}
        if short := self._chance.random() < 0.3:
            body["retention_seconds"] = 0.1
        headers = {"Idempotency-Key": f"{self.name}-{self._number}"}
        job = self._twice("POST", "/v1/jobs", json=body, headers=headers, gone=short)
        return Promise(job["id"], items, short=short)

    def _lines(self) -> Promise:
        """Streamed, under an own id."""
        items = self._items(self._chance.randrange(50, 400))
        job_id = f"{self.name}-{self._number}"
        lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
        pad = b" " * (1 << 20)  # so that parts are stored before all is there

        def pieces() -> Iterator[bytes]:
            middle = lines.index(b"\n", len(lines) // 2)
            yield lines[:middle] + pad
            yield lines[middle:]

        job = self._twice("PUT", f"/v1/jobs/{job_id}?task=sleep_for", stream=pieces)
        assert job["id"] == job_id
        return Promise(job_id, items)

    def _form(self) -> Promise:
        """Pictures, uploaded with the job."""
        colours = [self._chance.choice(["red", "green", "blue"]) for _ in range(2)]
        files = [("file", (f"{n}.jpg", a_picture(colour), "image/jpeg")) for n, colour in enumerate(colours)]
        headers = {"Idempotency-Key": f"{self.name}-{self._number}"}
        job = self._twice("POST", "/v1/jobs?task=resize_image&param.width=8", files=files, headers=headers)
        return Promise(job["id"], [f"{n}.jpg" for n in range(2)])

    def _items(self, count: int) -> list[Any]:
        """Each sleeps for another time, so that a result tells whose it is; one in twenty is wrong."""
        return [
            0.0005 + index * 1e-9 if self._chance.random() < 0.95 else f"no number {index}"
            for index in range(count)
        ]

    def _twice(self, method: str, url: str, *, gone: bool = False, **content: Any) -> Document:
        """Submit, and now and then once more; it is the same job."""
        job = self._insist(method, url, **content)
        if self._chance.random() < 0.3:
            again = self._insist(method, url, gone=gone, **content)
            assert again.get("id", job["id"]) == job["id"], f"{url}: sent again, it is another job"
        return job

    def _insist(
        self,
        method: str,
        url: str,
        *,
        gone: bool = False,
        stream: Callable[[], Iterator[bytes]] | None = None,
        **options: Any,
    ) -> Document:
        """Send it until it is answered."""

        def send() -> Document | None:
            try:
                if stream is not None:
                    options["content"] = stream()
                answer = self._api.request(method, url, **options)
            except httpx.TransportError:
                self._ledger.resent += 1
                return None
            if answer.status_code == 503 or (gone and answer.status_code == 410):
                return None if answer.status_code == 503 else {"gone": True}
            assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text[:300]}"
            return answer.json() if answer.content else {"done": True}

        return self._after_the_last_death(send, f"an answer to {method} {url}")

    def _end_and_delete(self, promise: Promise) -> None:
        """Once it has ended; 404 is what a lost answer leads to."""
        url = f"/v1/jobs/{promise.id}"

        def deleted() -> bool:
            try:
                answer = self._api.get(url, headers={"Prefer": "wait=5"})
                if answer.status_code == 404:
                    return promise.deleted
                if answer.json()["status"] not in FINISHED:
                    return False
                promise.deleted = True
                return self._api.delete(url).status_code == 204
            except httpx.TransportError:
                return False

        self._after_the_last_death(deleted, f"the end of {promise.id}")

    def _after_the_last_death(self, look: Callable[[], T | None], what: str) -> T:
        return eventually_moving(look, lambda: self._ledger.deaths, END_SECONDS_MAX, what, RESEND_SECONDS)


def check_kept(api: httpx.Client, promise: Promise) -> None:
    """An AssertionError if it is not."""
    answer = api.get(f"/v1/jobs/{promise.id}", headers={"Prefer": "wait=60"})
    if promise.deleted or (promise.short and answer.is_error):
        assert answer.status_code == (404 if promise.deleted else 410), f"not gone: {answer.text}"
        return
    assert answer.status_code == 200, f"it was acknowledged, and is lost: {answer.text}"
    job = answer.json()
    status, counts = job["status"], job["counts"]
    assert status == ("cancelled" if promise.cancelling else "completed"), f"it is {status}"
    log = api.get(f"/v1/jobs/{promise.id}/results.jsonl").content.splitlines()
    lines = [json.loads(line) for line in log]
    indexes = [line["index"] for line in lines]
    assert len(set(indexes)) == len(indexes), "an item has two results"
    assert counts["total"] == len(promise.items)
    assert counts["succeeded"] + counts["failed"] == len(lines), f"{len(lines)} results for {counts}"
    assert promise.cancelling or sorted(indexes) == list(range(len(promise.items))), "an item has no result"
    for line in lines:
        _right(line, promise.items[line["index"]])
    if promise.reader is not None:
        read = promise.reader.result(END_SECONDS_MAX)
        assert read == _seen(log, promise.view), f"its reader by {promise.view} has read something else"


def _right(line: Document, item: Any) -> None:
    """Each result is that of its item."""
    if isinstance(item, float):
        assert line.get("output") == item, line
    elif item.endswith(".jpg"):
        assert line["output"]["name"].startswith(item.removesuffix(".jpg")), line
    else:
        assert line["error"]["kind"] == "invalid_input", line


def _seen(log: list[bytes], view: str) -> list[bytes]:
    lines = [line for line in log if "failed" not in view or b'"error"' in line]
    return sorted(lines, key=lambda line: int(json.loads(line)["index"])) if "index" in view else lines
