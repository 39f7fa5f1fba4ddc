"""`python -m bench.demo`: a job on a hundred photographs, its results as they come.

Three of the photographs are hostile, and are to fail with an error that says why.  Exit status: 0 if exactly those
three failed and every other came out small enough to look at, else 1.

Invariant: when it returns, its service has ended and its files are gone.
"""

import argparse
import io
import json
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from PIL import Image

from bench.pictures import Job, file_path, flaw, submit
from bench.server import Server, serving
from tests.photos import Photo, make_photos

PHOTOS = 100
BAR_COLUMNS = 30
PROGRESS_LINES = 5
"""How many progress lines a job has where lines cannot be written over."""
CLEAN_ENDS = ("status 0", "SIGTERM", "SIGINT")
"""How a service ends that was told to: by the signal itself, once everything is put away."""

GREEN, RED = "\x1b[32m", "\x1b[31m"
_PLAIN, _CLEAR_LINE = "\x1b[0m", "\r\x1b[K"


@dataclass(slots=True)
class Screen:
    """Lines on standard output, above a line of progress; coloured if it is a terminal."""

    tty: bool = field(default_factory=sys.stdout.isatty)

    def line(self, text: str = "") -> None:
        print(f"{_CLEAR_LINE}{text}" if self.tty else text, flush=True)

    def progress(self, done: int, total: int, seconds: float) -> None:
        """On a terminal the last line, always; elsewhere a line now and then."""
        text = f"{done} of {total} done, {done / seconds:.1f} a second"
        if self.tty:
            print(
                f"{_CLEAR_LINE}{_bar(done, total)} {text}"[: shutil.get_terminal_size().columns + 3], end=""
            )
            sys.stdout.flush()
        elif done * PROGRESS_LINES // total > (done - 1) * PROGRESS_LINES // total:
            print(f"-- {text}", flush=True)

    def painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.tty else text


@dataclass(slots=True)
class Outcome:
    """What came of the job, so far."""

    seen: Counter[int] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    """Photograph to kind of error."""
    wrong: list[str] = field(default_factory=list)
    """What should not have happened."""
    example: tuple[str, str] | None = None
    """Name and path of a picture that was made."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make photographs, serve, run the job, tell, stop.  The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.demo", description="A job on photographs, as it runs."
    )
    parser.add_argument(
        "--photos", type=int, default=PHOTOS, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument("--keep-running", action="store_true", help="leave the service up until Ctrl-C")
    options = parser.parse_args(arguments)
    screen = Screen()
    try:
        return _demo(screen, options.photos, keep_running=options.keep_running)
    except KeyboardInterrupt:
        screen.line("Interrupted; the service has ended and its files are gone.")
        return 128 + signal.SIGINT
    except (httpx.HTTPError, AssertionError) as error:
        screen.line(f"{type(error).__name__}: {error}")
        return 1


def _demo(screen: Screen, count: int, *, keep_running: bool) -> int:
    with TemporaryDirectory(prefix="millpond-demo-") as directory:
        screen.line(f"Making {count} photographs of 4 to 8 megapixels …")
        photos = make_photos(Path(directory, "photos"), count)
        screen.line(f"{sum(not photo.good for photo in photos)} of them are hostile, and should fail.")
        with serving(Path(directory, "data")) as server:
            screen.line(f"Millpond serves; watch in a browser:  {server.url}")
            outcome = _run(screen, server, photos)
            if keep_running:
                _stay(screen, server, outcome)
            else:
                screen.line(
                    "To fetch pictures, let the service run:  .venv/bin/python -m bench.demo --keep-running\n"
                )
            status = server.end()
    said = signal.Signals(-status).name if status < 0 else f"status {status}"
    if said not in CLEAN_ENDS:
        outcome.wrong.append(f"the service ended with {said}")
    screen.line(f"The service has ended ({said}), and its files are gone.")
    for text in outcome.wrong:
        screen.line(screen.painted(f"Wrong: {text}", RED))
    return 1 if outcome.wrong else 0


def _run(screen: Screen, server: Server, photos: Sequence[Photo]) -> Outcome:
    """Submit the photographs as one job, show its results, and check them."""
    megabytes = sum(photo.path.stat().st_size for photo in photos) / 1e6
    outcome = Outcome()
    with server.client() as client:
        began = time.monotonic()
        job = submit(client, photos)
        sent = time.monotonic()
        screen.line(
            f"Job {job['id']}: {len(photos)} photographs, {megabytes:.0f} MB, sent in {sent - began:.1f} s\n"
        )
        for done, result in enumerate(_results(client, job), start=1):
            outcome.seen[result["index"]] += 1
            screen.line(_described(screen, client, photos[result["index"]], result, outcome))
            screen.progress(done, len(photos), time.monotonic() - sent)
        seconds = time.monotonic() - began
        ended: Job = client.get(job["links"]["self"]).raise_for_status().json()
    if ended["status"] != "completed" or outcome.seen != Counter(range(len(photos))):
        outcome.wrong.append(f"the job is {ended['status']}, with {outcome.seen.total()} results")
    _summarise(screen, outcome, ended, seconds)
    return outcome


def _results(client: httpx.Client, job: Job) -> Iterator[dict[str, Any]]:
    """The results as they come; the clean end of the stream means that these are all."""
    with client.stream("GET", job["links"]["results"], params={"follow": 1}) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.strip():
                yield json.loads(line)


def _described(
    screen: Screen, client: httpx.Client, photo: Photo, result: Mapping[str, Any], outcome: Outcome
) -> str:
    """A result as a line, once it is noted in the outcome."""
    name = photo.path.name
    start = f"{result['index']:4}  {name:<18}"
    took = f"{result.get('duration_ms', 0):5.0f} ms"
    if error := result.get("error"):
        outcome.failed[name] = error["kind"]
        if wrong := flaw(photo, result, None):
            outcome.wrong.append(wrong)
        said = f"{error['kind']}: {error['message']}"
        return f"{start} {took}  {screen.painted('failed', RED)}  {screen.painted(said, RED)}"
    path = file_path(result)
    data = client.get(path).raise_for_status().content
    if wrong := flaw(photo, result, data):
        outcome.wrong.append(wrong)
    outcome.example = (result["output"]["name"], path)
    with Image.open(io.BytesIO(data)) as picture:
        size = f"{picture.width:3} x {picture.height:3} {len(data) / 1000:4.0f} kB"
    return f"{start} {took}  {screen.painted('ok', GREEN)}      {size}"


def _summarise(screen: Screen, outcome: Outcome, job: Job, seconds: float) -> None:
    counts = job["counts"]
    kinds = ", ".join(f"{count} by {kind}" for kind, count in Counter(outcome.failed.values()).items())
    screen.line()
    screen.line(f"{counts['succeeded']} succeeded, {counts['failed']} failed{kinds and f' ({kinds})'}")
    screen.line(f"{seconds:.1f} s from the first byte sent to the last result")


def _stay(screen: Screen, server: Server, outcome: Outcome) -> None:
    """Wait for Ctrl-C, which the service gets as well where there is a terminal."""
    with suppress(KeyboardInterrupt):
        screen.line(f"\nThe service goes on at {server.url} until Ctrl-C.")
        if outcome.example:
            name, path = outcome.example
            screen.line(f"One of the pictures:  curl -o {name} {server.url}{path}")
        server.wait()
    screen.line()


def _bar(done: int, total: int) -> str:
    width = BAR_COLUMNS * done // total
    return f"[{'#' * width}{'.' * (BAR_COLUMNS - width)}]"


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
