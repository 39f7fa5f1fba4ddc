"""Every sequence of events a worker's slot can meet, against a worker that is known to the last item."""

import json
import mmap
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain.engine import Chunk
from tests.unit.supervised import Account, ModelWorker
from workers.interrupt import Why
from workers.postmortem import BLAMELESS, Exit, Reason
from workers.slot import DEAF_SECONDS, GRACE_SECONDS, START_SECONDS_MAX, Action, Slot
from workers.wire import NO_LIMIT, SLOT_BYTES, Kind, Marks

TICK_SECONDS = 0.020
SLACK_SECONDS = 3 * TICK_SECONDS
SIDE_BY_SIDE = 3


class SlotMachine(RuleBasedStateMachine):
    """Chunks are given, items run, frames travel, time passes, and the worker dies when it likes."""

    @initialize()
    def start(self) -> None:
        self.now = 1000.0
        self.sent_at = self.now
        """When results were seen on their way last."""
        self.accounts: dict[int, Account] = {}
        self.memory = mmap.mmap(-1, SLOT_BYTES)
        self.replace()

    def replace(self) -> None:
        """A new worker in a new slot, over the same memory."""
        marks = Marks(self.memory, 0)
        marks.clear()
        self.slot = Slot(0, marks, self, now=self.now)
        self.worker = ModelWorker(marks)
        self.asked: dict[int, float] = {}
        """When marks were meant by an interruption."""
        self.pending = False
        """Whether the signal is on its way."""
        self.condemned: int | None = None
        """The mark whose item was interrupted in vain."""
        self.overstayed: set[int] = set()
        """Chunks that a kill may have been for."""

    # -- What the pool does

    @precondition(lambda self: self.slot.room(1) != "none")
    @rule(
        count=st.integers(1, 4),
        first=st.integers(0, 5),
        timeout=st.sampled_from([1.0, 2.5, None]),
        short=st.booleans(),
        light=st.booleans(),
    )
    def give(self, count: int, first: int, timeout: float | None, short: bool, light: bool) -> None:
        self._give(count, first, timeout, short=short, concurrency=1, light=light)

    @precondition(lambda self: self.slot.room(SIDE_BY_SIDE) != "none")
    @rule(first=st.integers(0, 5), timeout=st.sampled_from([1.0, 2.5, None]))
    def give_coroutine(self, first: int, timeout: float | None) -> None:
        self._give(1, first, timeout, short=False, concurrency=SIDE_BY_SIDE)

    def _give(self, count: int, first: int, timeout: float | None, **options: Any) -> None:
        number, lines = len(self.accounts) + 1, b"1\n" * count
        chunk = Chunk(number, "t", b"{}", first, count, lines, timeout_seconds=timeout, **options)
        self.accounts[number] = Account(chunk, self.now, cut_short=self.worker.leaving)
        frame = self.slot.give(chunk, self.now)
        order = json.loads(frame.head)
        assert self.worker.marks.limits[order["limit"]].value == NO_LIMIT
        self.worker.take(chunk, order["limit"])

    @rule(which=st.integers(0, SIDE_BY_SIDE - 1))
    def recall(self, which: int) -> None:
        if account := self._live(which):
            self.slot.recall(account.chunk.id)
            account.cut_short = True

    @rule(idle=st.booleans())
    def hold_back(self, idle: bool) -> None:
        """Others could run what waits here."""
        if self.slot.hold_back(self.now, idle=idle):
            for account in self.accounts.values():
                account.cut_short = True

    @rule()
    def take_back(self) -> None:
        """At once after that, or any time later, or although nothing was held back."""
        self.slot.take_back()

    @rule(which=st.integers(0, SIDE_BY_SIDE - 1))
    def cancel(self, which: int) -> None:
        if account := self._live(which):
            frame = self.slot.cancel(account.chunk.id, self.now)
            assert frame is not None
            assert frame.kind is Kind.CANCEL
            assert frame.chunk_id == account.chunk.id
            account.cut_short = True
            account.cancelled_at = account.cancelled_at or self.now

    @precondition(lambda self: self.slot.room(1) == "behind" and not self.worker.running)
    @rule(count=st.integers(1, 4))
    def cancel_one_behind(self, count: int) -> None:
        """While the item before it takes long, which is nobody's business."""
        self._give(count, 0, None, short=True, concurrency=1)
        self.worker.begin(0, self.now)
        self.cancel(1)
        self.time_passes(GRACE_SECONDS + 2 * TICK_SECONDS)

    @precondition(lambda self: not self.slot.leaving)
    @rule()
    def retire(self) -> None:
        self.slot.retire()
        for account in self.accounts.values():
            account.cut_short = True

    @precondition(lambda self: not self.slot.leaving)
    @rule(reason=st.sampled_from([Reason.MEMORY, Reason.BROKEN]))
    def kill(self, reason: Reason) -> None:
        self.slot.kill(reason)

    @precondition(lambda self: self.worker.pipe)
    @rule()
    def receive(self) -> None:
        self.slot.received(self.worker.pipe.popleft(), self.now)

    @rule(seconds=st.sampled_from([0.02, 0.2, 0.4, 1.1, 2.1, 3.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += TICK_SECONDS
            if self.worker.marks.sending.value:
                self.sent_at = self.now
            self.watch()

    @precondition(lambda self: self.worker.running)
    @rule(seconds=st.sampled_from([1.1, 2.6]), moves_on=st.booleans())
    def linger(self, seconds: float, moves_on: bool) -> None:
        """The item stays past its limit and swallows what should end it; or moves on just before its death comes."""
        self.time_passes(seconds)
        if self.pending:
            self.hear(obeys=False)
        self.time_passes(GRACE_SECONDS + 2 * TICK_SECONDS)
        self.nothing_runs_past_its_end()
        if moves_on:
            self.worker.go_on("lucky")
            for _ in range(2):
                if self.worker.may_begin:
                    self.worker.begin(0, self.now)
        if self.slot.leaving:
            self.die(0)

    def watch(self) -> None:
        mark, leaving = self.worker.marks.mark.value, self.slot.leaving
        match self.slot.watch(self.now):
            case Action.INTERRUPT:
                assert self.slot.chunks
                self._check_due(mark)
                self.asked[mark] = self.now
                self.pending = True
            case Action.KILL if self.slot.kill_reason is Reason.STUCK:
                assert self.slot.chunks
                assert self.worker.marked is None
                # What it has said and did not arrive, it may have done between two looks.
                idle = self.now - self.worker.marked_at
                assert self.worker.pipe or idle > START_SECONDS_MAX - TICK_SECONDS  # sums of floats
            case Action.KILL:
                assert self.slot.chunks
                assert not leaving or self.slot.kill_reason not in BLAMELESS
                self._check_kill(mark)

    def _check_due(self, mark: int) -> None:
        """An interruption is for a cancelled chunk, or a limit that has passed."""
        account = self.accounts[mark >> 32]
        why = Why(self.worker.marks.why.value)
        assert self.worker.marks.meant.value == mark
        if why is Why.CANCELLED:
            assert account.cancelled_at is not None
        else:
            limit = account.chunk.timeout_seconds
            assert limit is not None
            assert self.now - self._since(account) >= limit

    def _check_kill(self, mark: int) -> None:
        """A kill comes after an interruption was in vain, or for who waits longer than it may."""
        asked_at = self.asked.get(mark)
        deaf = self.worker.marks.heard.value != mark
        if asked_at is not None and self.now - asked_at >= (DEAF_SECONDS if deaf else GRACE_SECONDS):
            self.condemned = mark
        self.overstayed = {
            number for number, account in self.accounts.items() if not account.over and self._over(account)
        }
        assert self.condemned == mark or self.overstayed

    def _over(self, account: Account) -> bool:
        """Whether it was cancelled, or a coroutine began, so long ago that it may be killed for it."""
        first = next(other for other in self.accounts.values() if not other.over)
        if account.chunk.concurrency == 1 and account is not first:
            return False  # it only waits behind another
        if account.cancelled_at is not None and self.now - account.cancelled_at >= GRACE_SECONDS:
            return True
        limit = account.chunk.timeout_seconds
        side_by_side = account.chunk.concurrency > 1
        return side_by_side and limit is not None and self.now - account.given_at >= limit + GRACE_SECONDS

    def _since(self, account: Account) -> float:
        """When the item began, at the latest; the steps of a coroutine count together."""
        return account.given_at if account.chunk.concurrency > 1 else self.worker.marked_at

    def _live(self, which: int) -> Account | None:
        live = [account for account in self.accounts.values() if not account.over]
        return live[which] if which < len(live) else None

    # -- What the worker does

    @precondition(lambda self: self.worker.may_begin)
    @rule(which=st.integers(0, SIDE_BY_SIDE - 1))
    def begin(self, which: int) -> None:
        self.worker.begin(which, self.now)
        if self.worker.running and self.worker.marked is not None:
            number, index = self.worker.marked
            assert index < self.accounts[number].stop, "what was taken back does not start"

    @precondition(lambda self: self.worker.running)
    @rule(how=st.sampled_from(["lucky", "unlucky", "printing", "progress", "wait"]))
    def go_on(self, how: str) -> None:
        self.worker.go_on(how)

    @precondition(lambda self: self.pending)
    @rule(obeys=st.booleans())
    def hear(self, obeys: bool) -> None:
        self.pending = False
        self.worker.hear(obeys)

    @precondition(lambda self: not self.worker.running)
    @rule()
    def flush(self) -> None:
        self.worker.flush()

    @precondition(lambda self: not self.worker.running and self.worker.queue)
    @rule(sending=st.booleans())
    def send(self, sending: bool) -> None:
        self.worker.marks.sending.value = sending

    @precondition(lambda self: not self.worker.running and not self.worker.leaving)
    @rule()
    def have_enough(self) -> None:
        """After so many items, it will say with its next chunk's end that it leaves."""
        self.worker.leaving = True
        for account in self.accounts.values():
            account.cut_short = True

    # -- What the world does

    @rule(status=st.sampled_from([-signal.SIGSEGV, 0, 3, None]))
    def die(self, status: int | None) -> None:
        """By itself, or because it was killed: what it had sent is read first.  None: its parent died, nothing is."""
        if status is None:
            self.slot.kill(Reason.STOPPED)
        else:
            while self.worker.pipe:
                self.receive()
        self.bury(Exit(status if self.slot.kill_reason is None else -signal.SIGKILL))

    def bury(self, exit_: Exit) -> None:
        self.culprits: list[tuple[int, int]] = []
        marked, reason = self.worker.marked, self.slot.kill_reason
        self.slot.died(exit_)
        assert len(self.culprits) <= 1
        unreported = marked is not None and marked[1] not in self.accounts[marked[0]].reported
        if marked is not None and self.accounts[marked[0]].chunk.light:
            unreported = False  # several share that mark, so nobody is charged
        if reason is None or reason in (Reason.MEMORY, Reason.BROKEN):
            assert self.culprits == ([marked] if unreported else [])
        elif reason in BLAMELESS:
            assert self.culprits == []
        elif self.condemned == self.worker.marks.mark.value and unreported:
            assert self.culprits == [marked]  # it was interrupted, and stayed
        assert all(account.over for account in self.accounts.values())
        assert self.slot.chunks == 0
        self.replace()

    def teardown(self) -> None:
        if hasattr(self, "slot"):
            self.die(0)

    # -- What is always true

    @invariant()
    def nothing_runs_past_its_end(self) -> None:
        """Once an item's limit and grace are over, a kill is on its way."""
        if not hasattr(self, "slot") or self.slot.leaving:
            return
        if self.worker.running and self.worker.marked is not None:
            account = self.accounts[self.worker.marked[0]]
            limit = account.chunk.timeout_seconds
            if limit is not None:
                since = max(self.worker.marked_at, account.given_at)
                assert self.now - since <= limit + GRACE_SECONDS + SLACK_SECONDS
        for account in self.accounts.values():
            if account.over or account.chunk.concurrency == 1 or account.chunk.timeout_seconds is None:
                continue
            # While results are on their way nothing is timed.
            due = max(account.given_at + account.chunk.timeout_seconds + GRACE_SECONDS, self.sent_at)
            # Another's step that blocks is ended first, and may take its own grace; each wait may be seen a look late.
            assert self.now <= due + GRACE_SECONDS + 2.5 + 2 * SLACK_SECONDS

    @invariant()
    def the_slot_shows_what_runs(self) -> None:
        """The item it names is the one that is marked, and none where none is."""
        if hasattr(self, "slot"):
            marked = self.worker.marked
            live = marked is not None and not self.accounts[marked[0]].over
            assert self.slot.item == (marked[1] if marked and live else None)

    # -- What the slot says

    def part(
        self, chunk_id: int, first: int, count: int, failed: int, lines: bytes, files: Sequence[str]
    ) -> None:
        self.account(chunk_id, range(first, first + count))

    def unlucky(self, chunk_id: int, index: int, error: Mapping[str, Any]) -> None:
        self.account(chunk_id, [index])

    def printed(self, chunk_id: int, index: int, text: str) -> None:
        assert not self.accounts[chunk_id].over

    def progress(self, chunk_id: int, index: int, share: float, message: str) -> None:
        assert not self.accounts[chunk_id].over

    def ended(self, chunk_id: int, stop: int, seconds: float) -> None:
        account = self.close(chunk_id, stop)
        assert seconds >= 0
        if not account.cut_short:
            assert stop == account.chunk.first + account.chunk.count

    def recalled(self, chunk_id: int, stop: int) -> None:
        account = self.accounts[chunk_id]
        assert not account.over
        assert account.chunk.first <= stop < account.stop
        assert all(index < stop for index in account.reported)
        account.stop = stop

    def lost(self, chunk_id: int, first: int, culprit: int | None, error: Mapping[str, Any]) -> None:
        account = self.close(chunk_id, first)
        if culprit is None:
            assert error == {}
            return
        self.culprits.append((chunk_id, culprit))
        assert first <= culprit < account.stop
        reason = self.slot.kill_reason
        mine = self.condemned is not None and self.condemned >> 32 == chunk_id
        if reason is Reason.TIMEOUT:
            assert error["kind"] == "timeout"
            assert account.chunk.timeout_seconds is not None
            assert mine or chunk_id in self.overstayed
        elif reason is Reason.CANCELLED:
            assert error["kind"] == "cancelled"
            assert account.cancelled_at is not None
            assert mine or chunk_id in self.overstayed
        elif reason is Reason.MEMORY:
            assert error["kind"] == "out_of_memory"
        else:
            assert reason in (None, Reason.BROKEN)
            assert error["kind"] == "crashed"

    def room(self) -> None:
        raise AssertionError("a slot does not know of room")

    def account(self, chunk_id: int, indexes: Sequence[int]) -> None:
        account = self.accounts[chunk_id]
        assert not account.over
        account.reported += indexes

    def close(self, chunk_id: int, stop: int) -> Account:
        """From `stop` on the items are left over: those before it were each reported once."""
        account = self.accounts[chunk_id]
        assert not account.over
        account.over = True
        assert stop <= account.stop
        assert account.reported == list(range(account.chunk.first, stop))
        return account


TestSlot = SlotMachine.TestCase
TestSlot.settings = settings(max_examples=400, stateful_step_count=40)
