"""How much one caller may have here.

How it works: unfinished jobs and their waiting items are counted as they come and go; what is stored is asked of the
store, which takes longer the more there is, so that is remembered for a while, and what came since is added.

Invariant: what is over a quota is refused before its body is read, or as soon as it is known to be; nothing of it
stays.
"""

import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from app.domain.caller import ANYBODY, Caller, Quota
from app.domain.clock import Clock
from app.domain.errors import OverQuota
from app.domain.store import JobStore
from app.service.tally import Tallies

RETRY_AFTER_SECONDS = 10
STORED_SECONDS = 5.0
"""For so long it is believed what the store said."""
AGAIN_SECONDS = 0.5
AGAIN_TIMES = 20
"""Who is over is looked at anew after that many times of what looking took."""


@dataclass(slots=True)
class _Stored:
    """Bytes of one caller, as measured, and as added since."""

    size: int
    measured_at: float
    took_seconds: float
    since: int = 0


class Taking:
    """What a caller is bringing right now, while this is entered.

    OverQuota at the entrance if there is no room for it.  Of a job that is complete, the items are the dispatcher's to
    count.
    """

    def __init__(self, quotas: "Quotas", jobs: int) -> None:
        self._quotas = quotas
        self.jobs = jobs
        self.items = 0
        self.size = 0

    async def __aenter__(self) -> Self:
        self._quotas.begin(self)  # counted before it is checked: others ask meanwhile
        try:
            await self._quotas.check_entering(self)
        except BaseException:
            self._quotas.end(self, taken=False)
            raise
        return self

    async def __aexit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._quotas.end(self, taken=failure is None)

    async def add(self, items: int, size: int) -> None:
        """So many more items and bytes have come.  OverQuota if that is too much."""
        self.items += items
        self.size += size
        await self._quotas.check_coming(self)

    async def metered(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """These, counted as they come."""
        async for piece in pieces:
            await self.add(0, len(piece))
            yield piece


class Quotas:
    """Of one caller; `of` gives those of another."""

    def __init__(self, store: JobStore, tallies: Tallies, clock: Clock) -> None:
        self._store = store
        self._tallies = tallies
        self._clock = clock
        self._caller = ANYBODY
        self._limited = False
        """Whether there is anything to check."""
        self._taking: dict[str | None, list[Taking]] = {}
        self._stored: dict[str, _Stored] = {}

    def of(self, caller: Caller) -> "Quotas":
        quotas = copy.copy(self)
        quotas._caller = caller
        quotas._limited = caller.quota != Quota()
        return quotas

    async def check(self) -> None:
        """Whether there is room for one more job, told before its body is read.  OverQuota if not."""
        if self._limited:
            await self._check(1)

    async def _check(self, more: int) -> None:
        """Whether there is room for `more` jobs besides those that are here or coming.  OverQuota if not."""
        quota, (jobs, items) = self._caller.quota, self._unfinished()
        if quota.jobs_max is not None and jobs + more > quota.jobs_max:
            raise _over(f"{quota.jobs_max} unfinished jobs", "Wait until some have finished, or cancel them.")
        if quota.queued_items_max is not None and items >= quota.queued_items_max:
            raise _over(f"{quota.queued_items_max} waiting items", "Wait until some have run.")
        await self.check_stored()

    async def check_stored(self) -> None:
        """Whether there is room for one more byte.  OverQuota if not."""
        if self._limited:
            await self._check_stored(1)

    async def check_coming(self, taking: Taking) -> None:
        """Whether there is room for all that is coming, this included.  OverQuota if not."""
        if not self._limited:
            return
        quota = self._caller.quota
        most = quota.queued_items_max
        if most is not None and taking.items > most:
            raise _alone(
                f"{most} waiting items", "Send them in several jobs, each when the one before has run."
            )
        if most is not None and self._unfinished()[1] > most:
            raise _over(f"{most} waiting items", "Send fewer, or wait until some have run.")
        if quota.stored_bytes_max is not None and taking.size > quota.stored_bytes_max:
            raise _alone(f"{quota.stored_bytes_max} stored bytes", "Send less, or ask the operator for more.")
        await self._check_stored(0)

    def job(self) -> Taking:
        """Take a job."""
        return Taking(self, 1)

    def file(self) -> Taking:
        """Take files."""
        return Taking(self, 0)

    async def check_entering(self, taking: Taking) -> None:
        """Whether there is room for what begins to come, which is counted already.  OverQuota if not."""
        if self._limited:
            await (self._check(0) if taking.jobs else self.check_stored())

    def begin(self, taking: Taking) -> None:
        """This is coming from now on."""
        self._taking.setdefault(self._caller.name, []).append(taking)

    def end(self, taking: Taking, *, taken: bool) -> None:
        """It has come, or did not."""
        name = self._caller.name
        if taken and name in self._stored:
            self._stored[name].since += taking.size
        self._taking[name].remove(taking)
        if not self._taking[name]:
            del self._taking[name]

    def _unfinished(self) -> tuple[int, int]:
        """Jobs and waiting items, those on their way included."""
        (jobs, items), coming = self._tallies.of(self._caller.name), self._taking.get(self._caller.name, [])
        return jobs + sum(taking.jobs for taking in coming), items + sum(taking.items for taking in coming)

    async def _check_stored(self, more: int) -> None:
        quota, name = self._caller.quota, self._caller.name
        if quota.stored_bytes_max is None or name is None:
            return
        coming = sum(taking.size for taking in self._taking.get(name, []))
        most = quota.stored_bytes_max - coming - more
        stored = self._stored.get(name)
        age = self._clock.monotonic() - stored.measured_at if stored else 0.0
        if stored is None or age > STORED_SECONDS:
            stored = await self._measure(name)
        elif stored.size + stored.since > most and age > max(
            AGAIN_SECONDS, AGAIN_TIMES * stored.took_seconds
        ):
            stored = await self._measure(name)  # something may have been deleted
        if stored.size + stored.since > most:
            raise _over(
                f"{quota.stored_bytes_max} stored bytes",
                "DELETE finished jobs or files, or wait until some expire.",
            )

    async def _measure(self, name: str) -> _Stored:
        began = self._clock.monotonic()
        size = await self._store.stored_bytes(name)
        now = self._clock.monotonic()
        self._stored[name] = _Stored(size, now, now - began)
        return self._stored[name]


def _alone(limit: str, remedy: str) -> OverQuota:
    """Of one request that is more than all its caller may have: it is refused, whatever else is there."""
    return OverQuota(
        f"You may have {limit} here at once, and this request alone has more, so waiting does not help. {remedy}",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def _over(limit: str, remedy: str) -> OverQuota:
    return OverQuota(
        f"You may have {limit} here, and have them. {remedy}", retry_after_seconds=RETRY_AFTER_SECONDS
    )
