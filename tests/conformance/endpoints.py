"""For each endpoint of docs/api.md, requests that bring about each of the statuses it names."""

from collections.abc import Callable, Iterator

import httpx

from tests.integration.answers import JSONL, an_id, document_of, ended, submitted
from tests.waiting import eventually

Responses = Iterator[httpx.Response]
Call = Callable[[httpx.Client], Responses]

CALLS: dict[str, Call] = {}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SECONDS = 60


def call(endpoint: str) -> Callable[[Call], Call]:
    """This function makes the requests of that endpoint."""

    def register(function: Call) -> Call:
        assert endpoint not in CALLS
        CALLS[endpoint] = function
        return function

    return register


def finished(api: httpx.Client, items: list[object] | None = None, task: str = "sqrt") -> str:
    return str(ended(api, submitted(api, task, items if items is not None else [1, 4, "nine"])["id"])["id"])


def running(api: httpx.Client) -> str:
    return str(submitted(api, "sleep_for", [SECONDS])["id"])


@call("POST /v1/jobs")
def post_job(api: httpx.Client) -> Responses:
    yield api.post("/v1/jobs", json={"task": "sqrt", "items": [1]})
    yield api.post("/v1/jobs", json={"task": "sqrt", "items": []})
    yield api.post("/v1/jobs", content="{")
    yield api.post("/v1/jobs", content="{", headers={"Content-Type": "application/json"})
    yield api.post("/v1/jobs", json={"task": "no-such-task", "items": []})
    yield api.post("/v1/jobs?task=echo", content=f'"{"x" * (9 << 20)}"', headers=JSONL)
    yield api.post("/v1/jobs?task=echo&follow=1", content="1\n", headers=JSONL)
    yield eventually(lambda: _key_in_use(api), SECONDS, "a key is used while its first upload goes on")


def _key_in_use(api: httpx.Client) -> httpx.Response | None:
    """The answer to a key that another upload is on its way with; None if that had not come to the service yet."""
    key = {"Idempotency-Key": an_id()}
    found: list[httpx.Response] = []

    def body() -> Iterator[bytes]:
        yield b"1\n"
        with httpx.Client(
            base_url=api.base_url, trust_env=False, verify=False, event_hooks=api.event_hooks
        ) as other:
            found.append(other.post("/v1/jobs?task=echo", content="1\n", headers=JSONL | key))
        yield b"2\n"

    api.post("/v1/jobs?task=echo", content=body(), headers=JSONL | key)
    return found[0] if found[0].status_code == 409 else None


@call("PUT /v1/jobs/{job_id}")
def put_job(api: httpx.Client) -> Responses:
    path = f"/v1/jobs/{an_id()}"
    yield api.put(f"{path}?task=sqrt", content="1\n")
    yield api.put(f"{path}?task=sqrt", content="1\n")
    yield api.put(f"{path}?task=sqrt", content="2\n")
    yield api.put(f"/v1/jobs/{an_id()}?task=echo", content=f'"{"x" * (9 << 20)}"')
    yield api.put(f"/v1/jobs/{an_id()}?task=sqrt", content="x", headers={"Content-Encoding": "gzip"})
    yield api.put(f"/v1/jobs/{an_id()}?task=sqrt", content="1=1", headers=FORM)
    yield api.put(f"/v1/jobs/{an_id()}", content="1\n")


@call("GET /v1/jobs")
def list_jobs(api: httpx.Client) -> Responses:
    yield api.get("/v1/jobs?task=sqrt&status=completed&q=x&limit=1")
    yield api.get("/v1/jobs?status=done")


@call("GET /v1/jobs/{job_id}")
def get_job(api: httpx.Client) -> Responses:
    job_id = finished(api)
    yield (first := api.get(f"/v1/jobs/{job_id}"))
    yield api.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": first.headers["etag"]})
    yield from _without_a_job(api, "GET", "")


@call("PATCH /v1/jobs/{job_id}")
def patch_job(api: httpx.Client) -> Responses:
    job_id = running(api)
    yield api.patch(f"/v1/jobs/{job_id}", json={"priority": "high", "metadata": {"a": 1}})
    yield api.patch(f"/v1/jobs/{job_id}", content="a=b", headers=FORM)
    api.post(f"/v1/jobs/{job_id}/cancel?force=1")
    yield api.patch(f"/v1/jobs/{finished(api)}", json={"priority": "high"})
    yield api.patch(f"/v1/jobs/{an_id()}", json={"priority": "high"})
    yield api.patch(f"/v1/jobs/{job_id}", json={"priority": "urgent"})


@call("DELETE /v1/jobs/{job_id}")
def delete_job(api: httpx.Client) -> Responses:
    yield api.delete(f"/v1/jobs/{finished(api)}")
    job_id = running(api)
    yield api.delete(f"/v1/jobs/{job_id}")
    api.post(f"/v1/jobs/{job_id}/cancel?force=1")
    yield from _without_a_job(api, "DELETE", "")


@call("POST /v1/jobs/{job_id}/cancel")
def cancel_job(api: httpx.Client) -> Responses:
    job_id = running(api)
    eventually(
        lambda: document_of(api.get(f"/v1/jobs/{job_id}"))["counts"]["running"], SECONDS, "its item runs"
    )
    yield api.post(f"/v1/jobs/{job_id}/cancel")
    yield api.post(f"/v1/jobs/{finished(api)}/cancel")
    yield from _without_a_job(api, "POST", "/cancel")


@call("POST /v1/jobs/{job_id}/pause")
def pause_job(api: httpx.Client) -> Responses:
    yield from _switched(api, "pause")


@call("POST /v1/jobs/{job_id}/resume")
def resume_job(api: httpx.Client) -> Responses:
    yield from _switched(api, "resume")


def _switched(api: httpx.Client, verb: str) -> Responses:
    job_id = running(api)
    yield api.post(f"/v1/jobs/{job_id}/{verb}")
    api.post(f"/v1/jobs/{job_id}/cancel?force=1")
    yield api.post(f"/v1/jobs/{finished(api)}/{verb}")
    yield from _without_a_job(api, "POST", f"/{verb}")


@call("POST /v1/jobs/{job_id}/items")
def append_items(api: httpx.Client) -> Responses:
    job_id = document_of(api.post("/v1/jobs", json={"task": "sqrt", "items": [], "open": True}))["id"]
    place = f"/v1/jobs/{job_id}/items?offset=0"
    yield api.post(place, json=[1, 4])
    yield api.post(place, json=[9])
    yield api.post(place, content="a=b", headers=FORM)
    yield api.post(f"/v1/jobs/{job_id}/items", json=[1])
    api.post(f"/v1/jobs/{job_id}/seal")
    yield from _without_a_job(api, "POST", "/items?offset=0")


@call("POST /v1/jobs/{job_id}/seal")
def seal_job(api: httpx.Client) -> Responses:
    yield api.post(f"/v1/jobs/{finished(api)}/seal")
    yield from _without_a_job(api, "POST", "/seal")


@call("POST /v1/jobs/{job_id}/retry")
def retry_job(api: httpx.Client) -> Responses:
    job_id = finished(api)
    yield api.post(f"/v1/jobs/{job_id}/retry")
    yield api.post(f"/v1/jobs/{job_id}/retry", headers={"Prefer": "wait=30"})
    yield api.post(f"/v1/jobs/{job_id}/retry", content="a=b", headers=FORM)
    unfinished = running(api)
    yield api.post(f"/v1/jobs/{unfinished}/retry")
    api.post(f"/v1/jobs/{unfinished}/cancel?force=1")
    yield from _without_a_job(api, "POST", "/retry")


@call("GET /v1/jobs/{job_id}/results")
def get_results(api: httpx.Client) -> Responses:
    yield from _read(api, "/results")


@call("GET /v1/jobs/{job_id}/results.jsonl")
def get_result_lines(api: httpx.Client) -> Responses:
    path = f"/v1/jobs/{finished(api)}/results.jsonl"
    yield (whole := api.get(path))
    yield api.get(path, headers={"If-None-Match": whole.headers["etag"]})
    yield api.get(path, headers={"Range": "bytes=1-2", "If-Range": whole.headers["etag"]})
    yield api.get(path, headers={"Range": "bytes=99999-"})
    yield from _without_a_job(api, "GET", "/results.jsonl")


@call("GET /v1/jobs/{job_id}/inputs.jsonl")
def get_inputs(api: httpx.Client) -> Responses:
    yield from _read(api, "/inputs.jsonl?select=failed")


@call("GET /v1/jobs/{job_id}/items/{index}")
def get_item(api: httpx.Client) -> Responses:
    job_id = finished(api)
    yield api.get(f"/v1/jobs/{job_id}/items/0")
    yield api.get(f"/v1/jobs/{job_id}/items/3")
    yield api.get(f"/v1/jobs/{job_id}/items/-1")


@call("GET /v1/jobs/{job_id}/errors")
def get_errors(api: httpx.Client) -> Responses:
    yield from _read(api, "/errors")


@call("GET /v1/jobs/{job_id}/timings")
def get_timings(api: httpx.Client) -> Responses:
    yield from _read(api, "/timings")


@call("GET /v1/jobs/{job_id}/explain")
def get_explanation(api: httpx.Client) -> Responses:
    yield from _read(api, "/explain")


@call("GET /v1/jobs/{job_id}/events")
def get_events(api: httpx.Client) -> Responses:
    job_id = finished(api)
    yield api.get(f"/v1/jobs/{job_id}/events?include=results")
    yield api.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "3"})
    yield from _without_a_job(api, "GET", "/events")


@call("GET /v1/events")
def get_all_events(api: httpx.Client) -> Responses:
    with api.stream("GET", "/v1/events") as response:
        yield response


@call("POST /v1/files")
def upload_file(api: httpx.Client) -> Responses:
    yield api.post("/v1/files", content=b"x")
    yield api.post("/v1/files", content=b"x", headers={"Content-Type": "multipart/form-data"})
    yield api.post("/v1/files", files=[("file", ("a", b"a")), ("file", ("b", b"b"))])
    yield api.post("/v1/files", content=b"a=b", headers=FORM)


@call("GET /v1/files/{file_id}")
def download_file(api: httpx.Client) -> Responses:
    path = api.post("/v1/files", content=b"to be read").headers["location"]
    yield (whole := api.get(path))
    yield api.get(path, headers={"If-None-Match": whole.headers["etag"]})
    yield api.get(path, headers={"Range": "bytes=0-1"})
    yield api.get(path, headers={"Range": "bytes=99-"})
    yield api.get(f"/v1/files/sha256-{'0' * 64}")
    yield api.get("/v1/files/x")


@call("DELETE /v1/files/{file_id}")
def delete_file(api: httpx.Client) -> Responses:
    path = api.post("/v1/files", content=b"to be deleted").headers["location"]
    file_id = path.rpartition("/")[2]
    job_id = finished(api, [file_id], "echo")
    yield api.delete(path)
    api.delete(f"/v1/jobs/{job_id}")
    yield api.delete(path)
    yield api.delete(path)
    yield api.delete("/v1/files/x")


@call("GET /v1/tasks")
def list_tasks(api: httpx.Client) -> Responses:
    yield api.get("/v1/tasks")


@call("GET /v1/tasks/{name}")
def get_task(api: httpx.Client) -> Responses:
    yield api.get("/v1/tasks/sqrt")
    yield api.get("/v1/tasks/sqtr")


@call("GET /v1/pool")
def get_pool(api: httpx.Client) -> Responses:
    yield api.get("/v1/pool")


@call("PATCH /v1/pool/{name}")
def patch_pool(api: httpx.Client) -> Responses:
    yield api.patch("/v1/pool/cpu", json={"paused": False})
    yield api.patch("/v1/pool/gpu", json={"processes": 1})
    yield api.patch("/v1/pool/cpu", content="processes=1", headers=FORM)
    yield api.patch("/v1/pool/cpu", json={"processes": 0})


@call("POST /v1/session")
def post_session(api: httpx.Client) -> Responses:
    yield api.post("/v1/session")
    yield api.post("/v1/session", content="key=x", headers=FORM)
    yield api.post("/v1/session", json={"password": "x"})


@call("GET /v1/session")
def get_session(api: httpx.Client) -> Responses:
    yield api.get("/v1/session")


@call("DELETE /v1/session")
def delete_session(api: httpx.Client) -> Responses:
    yield api.delete("/v1/session")


@call("GET /problems")
def list_problem_types(api: httpx.Client) -> Responses:
    yield api.get("/problems")


@call("GET /problems/{name}")
def get_problem_type(api: httpx.Client) -> Responses:
    yield api.get("/problems/gone")
    yield api.get("/problems/good")
    yield api.get(f"/problems/{'x' * 200}")


@call("GET /livez")
def livez(api: httpx.Client) -> Responses:
    yield api.get("/livez")


@call("GET /readyz")
def readyz(api: httpx.Client) -> Responses:
    yield api.get("/readyz")


@call("GET /metrics")
def metrics(api: httpx.Client) -> Responses:
    yield api.get("/metrics")


def _read(api: httpx.Client, path: str) -> Responses:
    yield api.get(f"/v1/jobs/{finished(api)}{path}")
    yield from _without_a_job(api, "GET", path)


def _without_a_job(api: httpx.Client, method: str, path: str) -> Responses:
    yield api.request(method, f"/v1/jobs/{an_id()}{path}")
    yield api.request(method, f"/v1/jobs/-{path}")
