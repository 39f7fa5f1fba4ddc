"""Which files the items of a submission name.

Invariant: others get the loop in between, however much there is.
"""

import asyncio

from app.domain.item import files_named, strips

SMALL_BYTES = 16 << 10
"""So much is looked through at once."""


async def named_in(*texts: bytes) -> list[str]:
    """What `files_named` finds in these."""
    if sum(map(len, texts)) <= SMALL_BYTES:
        return files_named(*texts)
    found: set[str] = set()
    first = True
    for strip in strips(*texts):
        if not first:
            await asyncio.sleep(0)
        found.update(files_named(strip))
        first = False
    return sorted(found)
