"""`python -m bench.peers`: the same work through Celery, RQ, Dramatiq, Huey, Ray and Dask, as a table.

Each library is installed into an environment of its own; what cannot be installed, or needs a Redis that is not there,
is left out and said to be.  With `--write` the tables go into `bench/peers/RESULTS.md` and the README; of libraries
that are named, only their rows do.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import markdown
from bench.conditions import conditions
from bench.peers.cases import CASES, SIZES, Case, Scale, Seen
from bench.peers.catalogue import PEERS, Peer
from bench.peers.environment import python_of
from bench.peers.functions import FILES
from bench.peers.photographs import keep
from bench.peers.probe import PHOTOS_FILE, SEEN_FILE
from bench.peers.table import BRIEF, SPEED, Findings, again, faults, speeds, told_again
from bench.server import ROOT

RESULTS = ROOT / "bench" / "peers" / "RESULTS.md"
README = ROOT / "README.md"
WARDEN_SECONDS_MAX = 480.0
"""More than a warden ever takes: it bounds the probe itself."""


def main(arguments: Sequence[str]) -> int:
    """Install, measure, print, and write if told to.  Nothing is judged: the exit status is 0 whoever hangs."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description="The same work through others."
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(names)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller, and once")
    parser.add_argument(
        "--write", action="store_true", help="into RESULTS.md and the README; of those named only their rows"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in names]:
        parser.error(f"{unknown[0]}: there is no such library, but {', '.join(names)}")
    if options.write and options.quick:
        parser.error("--write: only in full")
    scale: Scale = "quick" if options.quick else "full"
    where = conditions("bench.peers", arguments)
    found: dict[str, Findings] = {}
    left_out: list[str] = []
    with TemporaryDirectory(prefix="millpond-peers-") as directory:
        os.environ |= {FILES: f"{directory}/files", PHOTOS_FILE: f"{directory}/photographs.json"}
        keep(Path(directory), SIZES[scale].photos)
        for peer in PEERS:
            if options.names and peer.name not in options.names:
                continue
            if why := _missing(peer):
                left_out.append(f"{peer.title} is left out: {why}")
                print(left_out[-1], file=sys.stderr)
                continue
            found[peer.title] = {case: _observe(peer, case, scale) for case in CASES}
    text = _document(where, scale, found, left_out)
    print(text)
    if options.write and options.names:
        _write_rows(where, found)
    elif options.write:
        RESULTS.write_text(f"# Others\n\n{text}\n")
        tables = f"{speeds(found, BRIEF)}\n\n{faults(found)}"
        README.write_text(markdown.put_between(README.read_text(), "peers", tables))
    return 0


def _write_rows(where: str, found: Mapping[str, Findings]) -> None:
    """Of these libraries alone; the head of the results tells when, and how fast the machine was."""
    results, readme = RESULTS.read_text(), README.read_text()
    results = again(results, [speeds(found, tuple(SPEED)), faults(found)], found)
    readme = again(readme, [speeds(found, BRIEF), faults(found)], found)
    machine, speed, _, command = where.splitlines()
    for title in found:
        results = told_again(results, title, f"{command}; {machine}; {speed}")
    RESULTS.write_text(results)
    README.write_text(readme)


def _missing(peer: Peer) -> str | None:
    """Why the library cannot be measured here; None if it can."""
    if peer.redis and shutil.which("redis-server") is None:
        return "it needs redis-server (Debian: apt-get install redis-server)"
    try:
        python_of(peer)
    except (OSError, subprocess.SubprocessError) as error:
        return f"it cannot be installed: {error}"
    return None


def _observe(peer: Peer, case: Case, scale: Scale) -> Seen | None:
    """What came of a case; None if nothing did."""
    with TemporaryDirectory(prefix="millpond-peer-") as folder:
        command = [sys.executable, "-m", "bench.peers.warden", peer.name, case, scale, folder]
        print(f"{peer.name} {case} …", file=sys.stderr, flush=True)
        subprocess.run(command, cwd=ROOT, timeout=WARDEN_SECONDS_MAX, check=False)
        seen = Path(folder, SEEN_FILE)
        return Seen.load(seen) if seen.exists() else None


def _document(where: str, scale: Scale, found: dict[str, Findings], left_out: Sequence[str]) -> str:
    size = SIZES[scale]
    versions = "; ".join(" ".join(peer.requirements) for peer in PEERS if peer.requirements)
    conditions_ = "\n".join(f"- {line}" for line in [*where.splitlines(), versions, *left_out])
    times = f"Medians of {size.runs}" if size.runs > 1 else "Measured once"
    return f"""\
{conditions_}

Two workers each. {times}: {size.batch:,} squares as one batch, by whatever the library has for that;
{size.each:,} handed over one by one; {size.single} calls one at a time. The last three columns are how many times
as long it takes as `multiprocessing.Pool.map` with `chunksize=1`, right before, in the same process:
{size.costly} items of 10 ms of CPU each, the same with lognormal costs, {size.photos} photographs.
Every result is checked.

{speeds(found, tuple(SPEED))}

Twenty items, one of which goes wrong; how many of the others got their results within 20 s, and what the caller of
the bad one was told. In the last column every process but the broker and the caller is SIGKILLed after five results,
and started again.

{faults(found)}"""


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
