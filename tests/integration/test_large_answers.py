"""What an item or a result of megabytes is sent as, or a page of many, holds up nobody else."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

import pytest

from tests.integration.answers import JSONL, WAIT, document_of, ended, submitted
from tests.integration.held import Watched, filled

ITEM_BYTES = 7 << 20
RESULT_BYTES = 48 << 20
VIEWED_BYTES = 12 << 20
VIEWERS = 24
ITEMS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: filled(b"[", b'{"x":1,"y":[1,2,{"z":3}]}', b"]", ITEM_BYTES // 2),
    "numbers": lambda: filled(b"[", b"7", b"]", ITEM_BYTES // 2),
    "one string": lambda: b'"' + b"a" * ITEM_BYTES + b'"',
    "not JSON": lambda: b'"' + b"\xff" * ITEM_BYTES,
    "a large key": lambda: b'{"id":"' + b"a" * ITEM_BYTES + b'"}',
    "a large name": lambda: b'{"%s' % token_hex(4).encode() + b"a b1 " * (ITEM_BYTES // 10) + b'":1}',
}


@pytest.mark.parametrize("name", ITEMS)
def test_a_large_item_holds_nobody_up(watched: Watched, name: str) -> None:
    """While it comes in and runs, is looked at, its result is read or sent with its job, and it is run again."""
    api = watched.api
    task = "square" if name.startswith("a large") else "echo"

    def ask() -> None:
        address = f"/v1/jobs?task={task}&key_field=id"
        item = ITEMS[name]()
        answer = api.post(address, content=item, headers=JSONL | WAIT).raise_for_status()
        job = f"/v1/jobs/{document_of(answer)['id']}"
        shown = json.dumps(item.decode(errors="replace"), ensure_ascii=False).encode()
        there = api.get(f"{job}/items/0").content
        assert b'"input":%b,"output":' % (shown if name == "not JSON" else item) in there
        assert task == "square" or name == "not JSON" or b'"output":%b,"error":null,' % item in there
        for path in (
            "/results",
            "/results?order=index&status=succeeded",
            "/results.jsonl?status=failed",
            "/inputs.jsonl",
            "/events?include=results",
            "/errors",
            "/timings",
        ):
            api.get(job + path).raise_for_status()
        if task == "square" or name == "not JSON":
            again = document_of(api.post(f"{job}/retry", headers=WAIT).raise_for_status())
            api.delete(again["links"]["self"]).raise_for_status()
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_a_large_page_holds_nobody_up(watched: Watched) -> None:
    """In either order, and of one outcome; and results of as much as is sent with a job."""
    api = watched.api

    def ask() -> None:
        job = submitted(api, "text_of", [900] * 12_000)
        results = f"/v1/jobs/{ended(api, job['id'])['id']}/results"
        for query in ("", "order=index", "status=succeeded", "order=index&after=1000"):
            page = api.get(f"{results}?limit=10000&{query}").raise_for_status()
            assert len(page.content) > 7 << 20
        body = {"task": "text_of", "items": [1_000] * 999}
        job = document_of(api.post("/v1/jobs", json=body, headers=WAIT).raise_for_status())
        assert len(job["results"]) == 999

    assert watched.held_by(ask) == []


def test_a_result_of_many_megabytes_holds_nobody_up(watched: Watched) -> None:
    """However it is read: what is one line is sent in pieces."""
    api = watched.api

    def ask() -> None:
        job = f"/v1/jobs/{ended(api, submitted(api, 'text_of', [RESULT_BYTES])['id'])['id']}"
        for path in (
            "/items/0",
            "/results",
            "/results?order=index",
            "/results.jsonl",
            "/events?include=results",
        ):
            answer = api.get(job + path).raise_for_status()
            assert len(answer.content) > RESULT_BYTES
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_large_results_hold_nobody_up_whoever_views_them(watched: Watched) -> None:
    """As events or as lines, as soon as they are there."""
    api = watched.api

    def ask() -> None:
        job = f"/v1/jobs/{submitted(api, 'text_of', [], open=True)['id']}"
        with ThreadPoolExecutor(VIEWERS) as pool:
            reading = threading.Barrier(VIEWERS + 1)

            def view(number: int) -> int:
                address = f"{job}/events?include=results" if number % 4 else f"{job}/results.jsonl?follow=1"
                with api.stream("GET", address) as stream:
                    reading.wait()
                    return sum(map(len, stream.iter_raw()))

            views = [pool.submit(view, number) for number in range(VIEWERS)]
            reading.wait()
            items = b"100000\n" * 10 + b"%d\n" % VIEWED_BYTES
            api.post(f"{job}/items?offset=0", content=items, headers=JSONL).raise_for_status()
            api.post(f"{job}/seal").raise_for_status()
            assert min(view.result() for view in views) > VIEWED_BYTES
        api.delete(job).raise_for_status()

    assert watched.held_by(ask) == []


def test_a_file_holds_nobody_up(watched: Watched) -> None:
    """While it comes, is sent and goes: what waits for the disk is done beside the loop."""
    api, before = watched.api, len(watched.log())
    data = b"a" * (8 << 20)
    for upload in ({"content": data}, {"files": {"file": ("a.txt", data)}}):
        file = api.post("/v1/files", **upload).raise_for_status().json()["links"]["self"]
        assert len(api.get(file).raise_for_status().content) == len(data)
        assert api.get(file, headers={"Range": "bytes=5-7"}).content == b"aaa"
        api.delete(file).raise_for_status()
    assert api.get(file).status_code == 404
    broken_off = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc'
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert api.post("/v1/files", content=broken_off, headers=form).status_code == 400
    api.get("/livez")

    assert [line for line in watched.log()[before:].splitlines() if "/files" in line] == []
    assert watched.held_by(lambda: api.post("/v1/files", content=data).raise_for_status()) == []
