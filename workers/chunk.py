"""Run one chunk: decode, run and encode its items, one after the other.

How it works: each item is marked in shared memory before anything is done for it that could hurt this process, so
whatever its line, its function or its output does is known to be its doing.  Finished lines are sent at the end of
the chunk, every `FLUSH_SECONDS` (`FLUSH_LONG_SECONDS`), or when there are `FLUSH_BYTES` of them.

Invariant: every item that was started is reported, in order, before the chunk is; no exception gets past its item.
"""

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from workers.blackbox import Recorder
from workers.calling import AHEAD_BYTES_MAX, Calls, caller, calls_of, one_by_one
from workers.context import HERE, Here
from workers.interrupt import Interrupter, Why
from workers.light import CALLER, STRETCH_ITEMS, Stretch
from workers.limits import ChildLimits, rss_bytes
from workers.outputs import encoder, is_settled
from workers.report import Key, Line, Order, Output, Report, Work, key_of_line, lines_of
from workers.task import TaskSpec
from workers.wire import Frame, Marks, ended

FLUSH_SECONDS = 0.050
FLUSH_LONG_SECONDS = 0.150
"""Of long chunks, beside which nobody else wants a worker: what is sent less often leaves more time to the items."""
FLUSH_BYTES = 256 << 10
FLUSH_LINES, FLUSH_BYTES_MAX = 16, 1 << 20
"""Fewer lines may be more bytes: what is done for each flush is then done for more of them."""
LOOK_SECONDS = 0.001
"""After an item that took this long it costs little to look at the memory."""
SLOW_SECONDS = 0.020
"""The result of an item that took this long does not wait for others."""
_OUR_FRAMES = 2
"""Above what is called, in a traceback."""


def _is_full(report: Report) -> bool:
    return report.bytes >= (FLUSH_BYTES if report.count >= FLUSH_LINES else FLUSH_BYTES_MAX)


def _decoded_ahead(work: Work) -> Calls | None:
    """The calls of a chunk whose items can all be decoded and validated before the first runs; else None."""
    if work.frame.count == 1 or len(work.frame.body) > AHEAD_BYTES_MAX:
        return None
    calls = calls_of(work)
    return None if calls is None else calls(slice(None))


def _run_nothing(*_: object, **__: object) -> None:
    """Stands in for the task where items are only checked, so that all else is done as it would be."""


class Runner:
    """Runs chunks on behalf of one worker."""

    def __init__(
        self,
        specs: Mapping[str, TaskSpec],
        marks: Marks,
        recorder: Recorder,
        limits: ChildLimits,
        send: Callable[..., None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._specs = specs
        self._clock = clock
        self._marks = marks
        self._recorder = recorder
        self._interrupter = Interrupter(marks, recorder, CALLER)
        self._send = send
        self._limits = limits
        self._items = 0
        self._flush_seconds = FLUSH_SECONDS
        self._flush_at = 0.0
        self._baseline_bytes = rss_bytes()
        self.leaving = False
        """Whether the worker has done enough and should be replaced."""

    def run(self, frame: Frame) -> None:
        """Run the chunk and report it all, `Kind.DONE` last."""
        began = self._clock()
        order = Order.parse(frame.head)
        spec = self._specs[order.task]
        if order.check:
            spec = replace(spec, function=_run_nothing)
        report = Report(frame, order, spec.options.no_retry_on, self._marks, self._send)
        work = Work(frame, order, spec, report, Here(report, frame.first))
        HERE.set(work.here)
        self._interrupter.limit_seconds = order.timeout_seconds
        self._flush_seconds = FLUSH_LONG_SECONDS if order.long else FLUSH_SECONDS
        self._flush_at = began + self._flush_seconds
        if not (order.light and self._run_together(work)):
            self._run_each(work, _decoded_ahead(work) or one_by_one(work, lines_of(frame)))
        if self._interrupter.signalled:
            self._interrupter.settle()
        report.flush(self._end(frame.chunk_id, began))
        self._marks.mark.value = 0

    def _run_together(self, work: Work) -> bool:
        """Run items that take next to no time; False if nothing was done, since these must run one by one."""
        count = work.frame.count
        if self._items + count >= self._limits.items_max or (calls_of_some := calls_of(work)) is None:
            return False
        stretch = Stretch(
            work,
            self._marks,
            self._interrupter,
            self._recorder,
            encoder(work.spec, work.report.files),
            self._took,
        )
        lines: Sequence[Line] = ()
        for position in range(0, count, STRETCH_ITEMS):
            part = slice(position, position + STRETCH_ITEMS)
            if (calls := calls_of_some(part)) is not None:
                goes_on = stretch.run(calls, position)
                self._items += len(calls.arguments)
                self._took(work.report, 0.0)
            else:
                lines = lines or lines_of(work.frame)
                goes_on = self._run_each(work, one_by_one(work, lines[part]), position)
            if not goes_on or self.leaving:
                break
        return True

    def _run_each(self, work: Work, calls: Calls, position: int = 0) -> bool:
        """Run items one by one, from this position in the chunk on; False if the chunk ends there."""
        frame, report, here = work.frame, work.report, work.here
        limit = self._marks.limits[work.order.limit]
        mark = self._marks.mark
        base = frame.chunk_id << 32
        clock = self._clock
        printed = self._recorder.printed
        interrupter = self._interrupter
        pause = SLOW_SECONDS if self._limits.growth_bytes_max is None else LOOK_SECONDS
        execute = self._executor(work, calls.function)
        our_frames, key_at, first = _OUR_FRAMES + calls.our_frames, calls.key, position + 1
        started = clock()  # of the item that runs: when the one before it ended
        for number, argument in enumerate(calls.arguments, start=first):
            mark.value = base + number
            # First say what is about to start, then look whether it may: the pool does it the other way round.
            if number > limit.value:
                mark.value = base
                return False
            place = here.place = frame.first + number - 1
            try:
                output = execute(argument)
            except BaseException as error:
                now = clock()
                if interrupter.hit is Why.CANCELLED:
                    self._recorder.take()  # nobody asks for it, and it must not become the next item's
                    mark.value = base
                    return False
                log = self._recorder.take()
                report.failed(
                    *(place, key_at(number - first), error, interrupter.hit, log, now - started),
                    our_frames=our_frames,
                )
            else:
                now = clock()
                report.succeeded(place, key_at(number - first), output, now - started)
                if printed():
                    report.log(place, self._recorder.take())
            self._items += 1
            if interrupter.signalled:
                interrupter.settle()
            took, started = now - started, now
            if took >= pause or now >= self._flush_at or _is_full(report):
                if number == frame.count:
                    self._look_at_memory()  # the chunk's end is sent next, and its line with that
                else:
                    self._took(report, took)
                started = clock()
            if self._items >= self._limits.items_max or self.leaving:
                self.leaving = True
                mark.value = base
                return False
        return True

    def _took(self, report: Report, seconds: float) -> None:
        """An item took this long: perhaps it is time to send results, or to look at the memory."""
        now = self._clock()
        if seconds >= SLOW_SECONDS or now >= self._flush_at or _is_full(report):
            report.flush()
            self._flush_at = self._clock() + self._flush_seconds
            self._look_at_memory()
        elif seconds >= LOOK_SECONDS:
            self._look_at_memory()

    def _executor(self, work: Work, call: Callable[[Any], Any]) -> Callable[[Any], Output]:
        """A function from an item to its output; interruptible, and never past its end."""
        encode = encoder(work.spec, work.report.files)
        interrupter = self._interrupter

        def execute(argument: Any) -> Output:
            interrupter.open = True
            try:
                output: Output = call(argument)
                return output if is_settled(output) else encode(output)
            finally:
                interrupter.open = False

        return execute

    def _end(self, chunk_id: int, began: float) -> Frame:
        return ended(chunk_id, self._clock() - began, leaving=self.leaving)

    def _look_at_memory(self) -> None:
        growth = self._limits.growth_bytes_max
        if growth is not None and rss_bytes() > self._baseline_bytes + growth:
            self.leaving = True

    # -- For coroutines, which run side by side

    def side_by_side(self, frame: Frame) -> bool:
        """Whether the chunk is of a task whose items may run side by side."""
        order = Order.parse(frame.head)
        return self._specs[order.task].is_coroutine and not order.check

    def begin(self, frame: Frame) -> "Execution":
        """One item of such a chunk."""
        order = Order.parse(frame.head)
        spec = self._specs[order.task]
        report = Report(frame, order, spec.options.no_retry_on, self._marks, self._send)
        on_end = partial(self._end_one, frame.chunk_id, self._clock())
        return Execution(spec, order, frame, lines_of(frame)[0], report, on_end)

    def _end_one(self, chunk_id: int, began: float) -> Frame:
        self._items += 1
        self._look_at_memory()
        self.leaving = self.leaving or self._items >= self._limits.items_max
        return self._end(chunk_id, began)

    def enter(self, mark: int) -> None:
        """The item takes a step."""
        self._marks.mark.value = mark

    def open(self, limit_seconds: float | None) -> None:
        """From now on the step can be interrupted, once."""
        self._interrupter.limit_seconds = limit_seconds
        self._interrupter.open = True

    def shut(self) -> None:
        """From now on it cannot; if it is while this is called, this raises, and is done."""
        self._interrupter.open = False

    def leave(self) -> tuple[Why | None, str]:
        """The step, which was shut, is over: whether it was interrupted, and what it printed."""
        hit = self._interrupter.hit
        self._marks.mark.value = 0
        if self._interrupter.signalled:
            self._interrupter.settle()
        return hit, self._recorder.take()


@dataclass(frozen=True, slots=True)
class Execution:
    """One item of a task whose items run side by side."""

    spec: TaskSpec
    order: Order
    frame: Frame
    line: Line
    report: Report
    on_end: Callable[[], Frame]
    """What is to be told of the chunk last."""

    def coroutine(self) -> Coroutine[Any, Any, Any]:
        """What to await.  InvalidInput if the item is not what the task takes."""
        coroutine: Coroutine[Any, Any, Any] = caller(self.spec, self.order.params)(self.line)
        return coroutine

    def encode(self, value: object) -> bytes:
        return encoder(self.spec, self.report.files)(value)

    def finish(
        self, output: bytes, error: BaseException | None, hit: Why | None, log: str, seconds: float
    ) -> None:
        """Report how the item ended."""
        if error is None:
            self.report.succeeded(self.frame.first, self._key, output, seconds)
            if log:
                self.report.log(self.frame.first, log)
        else:
            self.report.failed(self.frame.first, self._key, error, hit, log, seconds)

    @property
    def _key(self) -> Key:
        return key_of_line(self.line, self.order.key_field)

    def done(self) -> None:
        """Report that the chunk is through."""
        self.report.flush(self.on_end())
