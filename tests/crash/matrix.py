"""What crash tests ask of a running service: its processes, its jobs, and how soon all is as it was."""

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from bench.server import Server

Document = dict[str, Any]

DATA_DIR = "MILLPOND_DATA_DIR"
WHOLE_SECONDS_MAX = 1.0
CLEAN_SECONDS_MAX = 2.0
JOB_SECONDS_MAX = 40.0
TASKS = "workers.tasks,workers.tasks.faults,tests.crash.hazards"


@dataclass(frozen=True, slots=True)
class Fault:
    """A task's call that goes wrong, and what its failure must say; no kind: it does not fail."""

    task: str
    arguments: Sequence[Any]
    kind: str | None
    says: Document = field(default_factory=dict)
    """Members of the error, or of the line."""
    options: Document = field(default_factory=dict)

    @property
    def name(self) -> str:
        shown = "-".join(str(argument) for argument in self.arguments)
        return "-".join(filter(None, (self.task, shown, *map(str, self.options))))

    def flaw(self, line: Document) -> str | None:
        """What is wrong with this result of it."""
        error = line.get("error")
        if self.kind is None:
            return None if error is None else f"it failed: {error}"
        if error is None:
            return f"it did not fail: {str(line)[:200]}"
        told = {"kind": error["kind"]} | {name: (error | line).get(name) for name in self.says}
        expected = {"kind": self.kind} | self.says
        return None if told == expected else f"{told} instead of {expected}: {error}"


def until(happens: Callable[[], object], seconds: float, what: str = "") -> float:
    """Look until it happens; how long it took."""
    began = time.monotonic()
    while not happens():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what or happens}"
        time.sleep(0.004)
    return time.monotonic() - began


class Watched:
    """A running service, looked at from outside."""

    def __init__(self, server: Server, api: httpx.Client) -> None:
        self.server = server
        self.api = api
        self.process = psutil.Process(server.pid)

    def workers(self, pool: str = "cpu") -> list[int]:
        """The process ids of the workers that the service knows and that run."""
        shown = self.api.get("/v1/pool").json()["pools"][pool]["workers"]
        return [worker["pid"] for worker in shown if worker["pid"] and psutil.pid_exists(worker["pid"])]

    def zygote(self) -> psutil.Process | None:
        return next(iter(self.process.children()), None)

    def is_whole(self) -> bool:
        """Whether there are as many workers as there should be, and none of them has been condemned."""
        pool = self.api.get("/v1/pool").json()["pools"]["cpu"]
        staying = [w for w in pool["workers"] if w["pid"] and w["state"] in ("idle", "busy")]
        return len(staying) == pool["processes"] and all(psutil.pid_exists(w["pid"]) for w in staying)

    def is_clean(self) -> bool:
        """Whether its processes are the zygote and the workers, and nothing else."""
        zygote = self.zygote()
        # By their environment, which names the data directory: who has lost its parent is nobody's child.
        named = psutil.process_iter(["environ"])
        data = str(self.server.data)
        found = [process for process in named if (process.info["environ"] or {}).get(DATA_DIR) == data]
        ours = {process.pid for process in found if _lives(process)} - {self.server.pid}
        return zygote is not None and ours == {zygote.pid, *self.workers()}

    def recovers(self) -> None:
        """It is whole within a second, and has no stray process within two."""
        until(self.is_whole, WHOLE_SECONDS_MAX, "the pool is whole")
        until(self.is_clean, CLEAN_SECONDS_MAX, "no stray process")

    def submit(self, task: str, items: Sequence[Any], **options: Any) -> str:
        body = {"task": task, "items": items, **options}
        answer = self.api.post("/v1/jobs", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> Document:
        document = self.api.get(f"/v1/jobs/{job_id}").json()
        assert isinstance(document, dict)
        return document

    def done(self, job_id: str) -> int:
        """How many of its items have a result."""
        counts = self.job(job_id)["counts"]
        return int(counts["succeeded"] + counts["failed"])

    def reaches(self, job_id: str, count: int) -> None:
        """So many items of the job have a result."""
        until(lambda: self.done(job_id) >= count, JOB_SECONDS_MAX, f"{count} results")

    def item(self, job_id: str, index: int = 0) -> Document:
        document = self.api.get(f"/v1/jobs/{job_id}/items/{index}").json()
        assert isinstance(document, dict)
        return document

    def ended(self, job_id: str, status: str = "completed") -> Document:
        wait = {"Prefer": f"wait={JOB_SECONDS_MAX:.0f}"}
        job = self.api.get(f"/v1/jobs/{job_id}", headers=wait, timeout=JOB_SECONDS_MAX + 20).json()
        assert job["status"] == status, job
        assert isinstance(job, dict)
        return job

    def results(self, job_id: str, status: str = "completed") -> list[Document]:
        """Every result of the job, once it has ended: of a completed one each item's exactly once."""
        job = self.ended(job_id, status)
        logged = self.lines(job_id)
        lines = sorted(logged, key=lambda line: int(line["index"]))
        indexes = [line["index"] for line in lines]
        assert len(set(indexes)) == len(indexes), "an item has two results"
        if status == "completed":
            assert indexes == list(range(job["counts"]["total"]))
        assert sum("error" in line for line in lines) == job["counts"]["failed"]
        return lines

    def lines(self, job_id: str) -> list[Document]:
        content = self.api.get(f"/v1/jobs/{job_id}/results.jsonl").raise_for_status().content
        return [json.loads(line) for line in content.splitlines()]

    def ran(self, task: str, items: Sequence[Any], **options: Any) -> list[Document]:
        return self.results(self.submit(task, items, **options))


def _lives(process: psutil.Process) -> bool:
    """Whether it is more than an entry that its parent has not looked at yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
