"""`python -m tests.simulation SEED …`: tell the stories of these seeds; `--from 1000 --stories 20000` of so many.

Exit status: 1 if one fails; its seed is printed.
"""

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.world import World

BATCH = 100


def failing(seeds: list[int]) -> list[tuple[int, str]]:
    """Those whose stories do not end well, and how they end."""
    found = []
    for seed in seeds:
        try:
            World(seed).run()
        except Exception:
            found.append((seed, traceback.format_exc(limit=-6)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", type=int, nargs="*")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--stories", type=int, default=0)
    arguments = parser.parse_args()
    seeds = arguments.seeds or list(range(arguments.first, arguments.first + arguments.stories))
    began = time.monotonic()
    failed = []
    with ProcessPoolExecutor() as executor:
        for found in executor.map(failing, [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]):
            failed += found
            for seed, how in found:
                sys.stdout.write(f"seed {seed}\n{how}\n")
    took = time.monotonic() - began
    named = ", ".join(str(seed) for seed, _ in failed) or "none"
    sys.stdout.write(f"{len(seeds):,} stories told in {took:.0f} s; these seeds failed: {named}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
