"""Which files the items of a submission name.

Invariant: others have the loop in between, however much there is.
"""

import asyncio

from app.domain.item import files_named, strips


async def named_in(*texts: bytes) -> list[str]:
    """What `files_named` finds in these."""
    found: set[str] = set()
    first = True
    for strip in strips(*texts):
        if not first:
            await asyncio.sleep(0)
        found.update(files_named(strip))
        first = False
    return sorted(found)
