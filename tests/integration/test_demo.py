"""`make demo`, with fewer photographs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from bench.server import ROOT

PHOTOS = 8
"""As few as have hostile ones among them."""
FEW, MANY = 2, 12
"""Where any picture will do, and where the job is to last."""
SECONDS_MAX = 90


def demo(photos: int) -> list[str]:
    """The command, with so many photographs."""
    return [sys.executable, "-m", "bench.demo", "--photos", str(photos)]


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demo puts what it needs; nothing may be left there."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    yield directory
    assert list(directory.iterdir()) == []


def gone(url: str) -> bool:
    try:
        urlopen(url, timeout=5).close()
    except URLError:
        return True
    return False


def test_the_demo_shows_every_result_and_leaves_nothing(temporary: Path) -> None:
    """Each photograph has a line, the hostile ones with their reason; then the service is gone, and its files."""
    ended = subprocess.run(
        demo(PHOTOS),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        timeout=SECONDS_MAX,
    )

    said = ended.stdout.decode()
    assert (ended.returncode, ended.stderr) == (0, b""), said
    assert "\x1b" not in said
    lines = re.findall(r"^ *(\d+)  \d{3}-\w+\.(?:jpg|png) +\d+ ms  (ok|failed) +(.+)$", said, re.MULTILINE)
    assert sorted(int(index) for index, _, _ in lines) == list(range(PHOTOS))
    assert all(re.match(r"\d+ x \d+ +\d+ kB$", told) for _, state, told in lines if state == "ok")
    failed = {int(index): told for index, state, told in lines if state == "failed"}
    assert failed.keys() == {2, 4, 6}
    assert failed[2].startswith("exception: 002-truncated.jpg is damaged or cut short")
    assert failed[4].startswith("exception: 004-text.jpg is not a picture")
    assert failed[6].startswith("exception: 006-bomb.png is too large")
    assert f"-- {PHOTOS} of {PHOTOS} done" in said
    assert "5 succeeded, 3 failed (3 by exception)" in said
    assert said.endswith("The service has ended (SIGTERM), and its files are gone.\n")
    [url] = re.findall(r"in a browser: +(http://\S+)$", said, re.MULTILINE)
    assert gone(url)


def _hears_ctrl_c() -> None:
    """A shell has what it starts in the background ignore SIGINT, and so all that these tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_demo_leaves_the_service_up_when_asked(temporary: Path) -> None:
    """A picture can be fetched with the line it prints, until Ctrl-C; then all is gone."""
    with subprocess.Popen(
        [*demo(FEW), "--keep-running"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_ctrl_c,
    ) as running:
        try:
            assert running.stdout is not None
            shown = next(
                found for line in running.stdout if (found := re.search(r"curl -o \S+ (\S+)$", line))
            )
            with urlopen(shown[1], timeout=10) as picture:
                assert picture.headers["Content-Type"] in ("image/jpeg", "image/png")
            running.send_signal(signal.SIGINT)
            rest = running.stdout.read()
            assert running.wait(SECONDS_MAX) == 0, rest
        finally:
            running.terminate()
    assert "its files are gone" in rest
    assert gone(shown[1])


def test_an_interrupted_demo_leaves_nothing(temporary: Path) -> None:
    """SIGTERM in the middle of the job ends the service and removes the files."""
    with subprocess.Popen(
        demo(MANY), cwd=ROOT, env=os.environ | {"TMPDIR": str(temporary)}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        shown = next(found for line in running.stdout if (found := re.search(r"(http://\S+)$", line)))
        running.terminate()
        rest = running.stdout.read()
    assert running.returncode == 128 + signal.SIGINT, rest
    assert rest.endswith("Interrupted; the service has ended and its files are gone.\n")
    assert gone(shown[1])
