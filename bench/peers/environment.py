"""An environment of its own for each library, made when it is first asked for, in `build/peers/NAME`."""

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

from bench.peers.catalogue import TASKS_NEED, Peer
from bench.server import ROOT

FOLDER = ROOT / "build" / "peers"
INSTALL_SECONDS_MAX = 600.0


def python_of(peer: Peer) -> Path:
    """The interpreter that has the library.  OSError or SubprocessError if it cannot be had."""
    if not peer.requirements:
        return Path(sys.executable)
    folder = FOLDER / peer.name
    python = folder / "bin" / "python"
    wanted = "\n".join([*peer.requirements, *(f"{name}=={version(name)}" for name in TASKS_NEED)])
    made = folder / "requirements.txt"
    if not made.exists() or made.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*command, *wanted.splitlines()], check=True, timeout=INSTALL_SECONDS_MAX, stdout=sys.stderr
        )
        made.write_text(wanted)  # last: what is half installed is installed again
    return python
