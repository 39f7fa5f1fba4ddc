"""The image: what its files promise, and, where Docker works, that a locked-down container keeps it.

What builds and runs it is skipped, saying why, unless an engine has the base image or soon gets it.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server
from tests.photos import make_photos

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text()
IMAGE = "millpond-test"

PULL_SECONDS_MAX = 30.0
BUILD_SECONDS_MAX = 600.0
"""Two cores under a load of 12 to 18 took 131 s."""
DOCKER_SECONDS_MAX = 30.0
START_SECONDS_MAX = 20.0
STOP_SECONDS = 10
"""What `docker stop` waits by default before it kills."""

pytestmark = pytest.mark.timeout(PULL_SECONDS_MAX + BUILD_SECONDS_MAX + 120)
"""The first test that needs the image has it built."""

LOCKED_DOWN = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--cpus", "1", "--memory", "512m", "--pids-limit", "128", "--health-interval", "1s"),
)


def instructions(name: str) -> list[str]:
    """What follows this word in the Dockerfile, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, flags=re.MULTILINE)


def base_image() -> str:
    return instructions("FROM")[-1].split()[0]


# What the files say


def test_every_stage_starts_from_the_same_named_version() -> None:
    """No stage is built on `latest`, and what one compiles is for the Python of the other."""
    assert {rest.split()[0] for rest in instructions("FROM")} == {base_image()}
    assert re.fullmatch(r"python:3\.11-\w+-\w+", base_image())


def test_the_user_is_a_number_that_is_not_root() -> None:
    """Orchestrators that refuse root can tell from the image alone."""
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", instructions("USER")[-1])


def test_the_image_has_a_health_check() -> None:
    """It is the probe, run without a shell."""
    (check,) = instructions("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2])[-1] == "healthcheck.py"


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_builder() -> None:
    """Every source of a COPY is in the tree and passes .dockerignore, which lets in nothing else."""
    copies = [rest.split()[:-1] for rest in instructions("COPY") if not rest.startswith("--from=build ")]
    sources = {source for copy in copies for source in copy}
    everything, *exceptions = (ROOT / ".dockerignore").read_text().split()

    assert all((ROOT / source).exists() for source in sources), sources
    assert everything == "*"
    let_in = {line.removeprefix("!") for line in exceptions if line.startswith("!")}
    assert let_in == {source.partition("/")[0] for source in sources}


def test_the_service_ends_in_order_before_docker_kills_it() -> None:
    """The drain is shorter than the patience of `docker stop`, and in compose.yaml than its grace period."""
    drain = re.compile(r"MILLPOND_DRAIN_SECONDS[=:] ?(\d+)")
    (image,) = drain.findall(" ".join(instructions("ENV")))
    (compose,) = drain.findall(COMPOSE)
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)

    assert int(image) + 2 < STOP_SECONDS
    assert int(compose) + 2 < int(grace)


def test_compose_publishes_on_loopback_only() -> None:
    """With MILLPOND_AUTH=none, a port that other machines reach would be anybody's."""
    ports = re.search(r"\bports:\n((?: +- .*\n)+)", COMPOSE)

    assert "MILLPOND_AUTH: none" in COMPOSE
    assert "network_mode" not in COMPOSE
    assert ports is not None
    assert re.findall(r'- "?([^"\n]+)', ports[1]) == ["127.0.0.1:8000:8000"]


def test_the_probe_tells_a_ready_service_from_none(server: Server) -> None:
    """It exits with 0 where `/readyz` answers 200, and with 1 where nobody answers."""

    def probe(port: str) -> int:
        command = [sys.executable, "-IS", str(ROOT / "docker/healthcheck.py")]
        environment = {"MILLPOND_HOST": "0.0.0.0", "MILLPOND_PORT": port}
        return subprocess.run(command, env=environment, timeout=10, check=False).returncode

    assert probe(server.url.rpartition(":")[2]) == 0
    assert probe("1") == 1


# What a container does


def docker(*arguments: str, seconds: float = DOCKER_SECONDS_MAX) -> str:
    """Run docker, and return what it prints."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-4000:]}"
    return done.stdout.strip()


def works(*arguments: str, seconds: float = DOCKER_SECONDS_MAX) -> bool:
    """Whether docker does this, in this time."""
    try:
        docker(*arguments, seconds=seconds)
    except (OSError, AssertionError, subprocess.TimeoutExpired):
        return False
    return True


def until(happens: Callable[[], bool], seconds: float = START_SECONDS_MAX) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Container:
    """A container whose service is ready."""

    id: str
    client: httpx.Client

    def run(self, task: str, items: list[object], **options: object) -> list[dict[str, object]]:
        """The results of a job, in input order."""
        job = {"task": task, "items": items, **options}
        answer = self.client.post("/v1/jobs", json=job, headers={"Prefer": "wait=30"}).json()
        results: list[dict[str, object]] = answer["results"]
        return results

    def shell(self, script: str) -> str:
        return docker("exec", self.id, "sh", "-c", script)

    def log(self) -> str:
        done = subprocess.run(
            ["docker", "logs", self.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOCKER_SECONDS_MAX,
            check=True,
        )
        return done.stdout

    def state(self, template: str) -> str:
        return docker("inspect", "--format", f"{{{{.State.{template}}}}}", self.id)


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """A network of our own, once the image is built on it all; some machines have no default one."""
    if not works("info", seconds=10):
        pytest.skip("no docker engine answers")
    if not works("image", "inspect", base_image()) and not works(
        "pull", base_image(), seconds=PULL_SECONDS_MAX
    ):
        pytest.skip(f"{base_image()} is neither here nor pulled within {PULL_SECONDS_MAX:.0f} s")
    docker("build", "--network", "host", "--tag", IMAGE, str(ROOT), seconds=BUILD_SECONDS_MAX)
    name = f"{IMAGE}-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


OOM = "out_of_memory"


@contextlib.contextmanager
def volume() -> Iterator[str]:
    name = docker("volume", "create")
    try:
        yield name
    finally:
        docker("volume", "rm", name)


@contextlib.contextmanager
def container(network: str, data: str, *options: str) -> Iterator[Container]:
    """A locked-down container that publishes its port on loopback, as docs/docker.md says."""
    settings = ("--network", network, "--publish", "127.0.0.1::8000", "--env", "MILLPOND_AUTH=none")
    started = docker("run", "--detach", *LOCKED_DOWN, *settings, "--volume", f"{data}:/data", *options, IMAGE)
    try:
        port = docker("port", started, "8000/tcp").rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            service = Container(started, client)
            until(lambda: _ready(client) or service.state("Running") == "false")
            assert _ready(client), service.log()
            yield service
    finally:
        docker("rm", "--force", started)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def running(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container with the task that docs/docker.md shows."""
    folder = tmp_path_factory.mktemp("mytasks")
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs/docker.md").read_text(), flags=re.DOTALL)
    assert example is not None
    (folder / "greetings.py").write_text(example[1])
    for path in (folder, folder / "greetings.py"):
        path.chmod(0o755)
    tasks = "workers.tasks,workers.tasks.faults,greetings"
    mounted = ("--volume", f"{folder}:/tasks:ro", "--env", f"MILLPOND_TASKS={tasks}")
    with volume() as data, container(network, data, *mounted) as service:
        yield service


def test_it_runs_tasks_from_a_mounted_folder(running: Container) -> None:
    """A file in /tasks is named in MILLPOND_TASKS, and that is all."""
    assert [line["output"] for line in running.run("greet", ["Ada"])] == ["Hello, Ada!"]


def test_it_has_a_worker_for_each_cpu_of_its_limit(running: Container) -> None:
    """`--cpus 1` makes one worker, however many CPUs the machine has."""
    assert running.client.get("/v1/pool").json()["pools"]["cpu"]["processes"] == 1


def test_it_resizes_pictures(running: Container, tmp_path: Path) -> None:
    """The libraries that pictures need are in the image, and their files land in the volume."""
    photos = make_photos(tmp_path, 4)
    files = [("file", (photo.path.name, photo.path.read_bytes())) for photo in photos]

    job = running.client.post(
        "/v1/jobs", params={"task": "resize_image"}, files=files, headers={"Prefer": "wait=60"}
    ).json()

    assert job["counts"]["succeeded"] == len(photos)
    picture = running.client.get(f"/v1/files/{job['results'][0]['output']['file']}")
    assert picture.headers["content-type"].startswith("image/")


def test_it_is_nobody_and_writes_nowhere_but_in_data_and_tmp(running: Container) -> None:
    """The user is not root, has no capability, and finds the root file system read-only."""
    assert running.shell("id -u") == instructions("USER")[-1].partition(":")[0]
    assert "CapEff:\t0000000000000000" in running.shell("cat /proc/self/status")
    writable = "for d in / /opt/millpond /opt/venv /data /tmp; do test -w $d && echo $d; done; true"
    assert running.shell(writable).split() == ["/data", "/tmp"]


def test_it_becomes_healthy(running: Container) -> None:
    """The image's own HEALTHCHECK says so."""
    until(lambda: running.state("Health.Status") == "healthy")


def test_it_outlives_an_item_that_takes_all_memory(running: Container) -> None:
    """The kernel ends the worker, not the service; the item fails, the next one runs."""
    greedy, modest = running.run("eat_memory", [2000, 1])

    assert isinstance(greedy["error"], dict)
    assert greedy["error"]["kind"] in ("crashed", "out_of_memory")
    assert modest["output"] == 1


def test_with_little_memory_the_greedy_fail_and_the_modest_run(network: str) -> None:
    """At 256 MiB what takes too much is `out_of_memory`, what fits alone succeeds, and the service always answers."""
    faults = ("--env", "MILLPOND_TASKS=workers.tasks,workers.tasks.faults", "--memory-swap", "256m")
    with volume() as data, container(network, data, *faults, "--memory", "256m", "--cpus", "2") as service:
        job = {"task": "eat_memory", "items": [400, 400, 100, 100, 100, 5, 400], "chunksize": 1}
        link = service.client.post("/v1/jobs", json=job).json()["links"]["self"]
        until(
            lambda: service.client.get("/readyz").raise_for_status() is not None and _is_over(service, link)
        )
        lines = service.client.get(f"{link}/results?order=index").json()["results"]

        outcomes = [line["error"]["kind"] if "error" in line else line["output"] for line in lines]
        assert outcomes == [OOM, OOM, 100, 100, 100, 5, OOM]
        assert service.state("OOMKilled") == "false"


def _is_over(service: Container, link: str) -> bool:
    return bool(service.client.get(link).json()["ended_at"])


def test_it_reaps_orphans(running: Container) -> None:
    """A process whose parent went first leaves no zombie (state Z, proc(5))."""
    running.shell("(exec sleep 0.1 >/dev/null 2>&1 &)")

    until(lambda: running.shell("cat /proc/[0-9]*/stat 2>/dev/null | grep -c '(sleep)' || true") == "0")


def test_a_job_goes_on_after_docker_kill(network: str) -> None:
    """A new container on the volume of a killed one finishes its job, each item once."""
    numbers = list(range(60))
    job = {"task": "slow_square", "items": numbers, "params": {"seconds": 0.05}}
    with volume() as data:
        with container(network, data) as first:
            first.client.put("/v1/jobs/killed", json=job).raise_for_status()
            until(lambda: first.client.get("/v1/jobs/killed").json()["counts"]["succeeded"] > 3)
            docker("kill", first.id)
        with container(network, data) as second:
            answer = second.client.get("/v1/jobs/killed", headers={"Prefer": "wait=30"}).json()

    assert [line["output"] for line in answer["results"]] == [number**2 for number in numbers]


def test_docker_stop_ends_it_in_order(network: str) -> None:
    """With a job that runs and a stream that is read, it drains and ends by SIGTERM before docker kills."""
    job = {"task": "slow_square", "items": [3], "params": {"seconds": 60}}
    with volume() as data, container(network, data, "--env", "MILLPOND_DRAIN_SECONDS=1") as service:
        service.client.put("/v1/jobs/endless", json=job).raise_for_status()
        with service.client.stream("GET", "/v1/jobs/endless/events") as events:
            lines = events.iter_lines()
            next(lines)
            asked_at = time.monotonic()
            docker("stop", service.id)
            took_seconds = time.monotonic() - asked_at
            assert "event: end" not in list(lines)
        assert took_seconds < STOP_SECONDS / 2
        assert service.state("ExitCode") in ("0", "143")
