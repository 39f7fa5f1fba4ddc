"""What memory a service takes: itself, its zygote and its workers."""

from collections import defaultdict
from pathlib import Path

import psutil

from bench.server import Server


def family(server: Server) -> list[int]:
    """The processes of the service: itself, then its zygote and its workers."""
    return [server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True))]


def rollup(pid: int) -> dict[str, int]:
    """Bytes, by the names of proc(5), `smaps_rollup`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(size.split()[0]) * 1024 for name, _, size in (line.partition(":") for line in lines)}


def pss_bytes(server: Server) -> int:
    """The proportional set size: what processes share is counted in parts, each for its own.

    So what others on the machine map too, as a Python that measures does, counts in part only.
    """
    return sum(rollup(pid)["Pss"] for pid in family(server))


def alone_bytes(server: Server) -> int:
    """What that is at least where nothing else runs: of each file as much as that process maps which maps most."""
    files: defaultdict[str, int] = defaultdict(int)
    anonymous = 0
    for pid in family(server):
        sizes = rollup(pid)
        anonymous += sizes["Pss_Anon"] + sizes["Pss_Shmem"]
        for mapped in psutil.Process(pid).memory_maps(grouped=True):
            if Path(mapped.path).is_file():
                files[mapped.path] = max(files[mapped.path], mapped.rss - mapped.anonymous)
    return anonymous + sum(files.values())
