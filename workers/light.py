"""Items so small that handling each would cost more than running it.

How it works: their lines are decoded in one call; a stretch of them is validated in one call, run in blocks that share
a mark, and encoded in one call.  Whatever cannot be done so is done one by one (`workers.chunk`).

Invariant: the lines are, byte for byte, those that one by one would have given.
Invariant: no item starts under a mark older than `SHOWN_SECONDS`.  So if a mark stands for long, it is the running item
that took long, and an interruption that is meant for the mark is meant for that item.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from workers.blackbox import Recorder
from workers.calling import Calls
from workers.interrupt import Interrupter, Why
from workers.outputs import PLAIN
from workers.report import LINE_BYTES_MAX, SHOWN_SECONDS, Key, Report, Work
from workers.wire import BLOCK_ITEMS, Marks

STRETCH_ITEMS = 256
"""Items whose outputs are kept until they are encoded together."""
_OUR_FRAMES = 1

_encode_lines = msgspec.json.Encoder().encode_lines


class _Line(msgspec.Struct, gc=False):
    index: int
    output: Any


class _KeyedLine(msgspec.Struct, gc=False):
    index: int
    key: Key
    output: Any


class Stretch:
    """Runs items of a chunk together."""

    def __init__(
        self,
        work: Work,
        marks: Marks,
        interrupter: Interrupter,
        recorder: Recorder,
        form: Callable[[object], bytes],
        on_long: Callable[[Report, float], None],
    ) -> None:
        """`form` makes JSON of an output that is not plain; `on_long` hears of items that took long."""
        self._base = work.frame.chunk_id << 32
        self._first = work.frame.first
        self._report = work.report
        self._here = work.here
        self._mark = marks.mark
        self._limit = marks.limits[work.order.limit]
        self._interrupter = interrupter
        self._recorder = recorder
        self._form = form
        self._on_long = on_long
        self._has_keys = work.order.key_field is not None
        self._calls: Calls
        self._start = 0
        """The place of the first call's item."""
        self._outputs: list[Any] = []
        """Of the items from `_here.place` on that have ended and are not reported."""
        self._kinds: set[type] = set()
        """The types of outputs so far."""
        work.here.ended = self._outputs

    def run(self, calls: Calls, position: int) -> bool:
        """Run these, from this position in the chunk on; False if the chunk ends there."""
        outputs, here, self._calls = self._outputs, self._here, calls
        start = self._start = here.place = self._first + position
        goes_on = True
        while goes_on and (at := here.place + len(outputs) - start) < len(calls.arguments):
            self._mark.value = self._base + position + at + 1
            # First say what is about to start, then look whether it may: the pool does it the other way round.
            goes_on = position + at < self._limit.value and self._block(at)
        self._put()
        if not goes_on:
            self._mark.value = self._base
        return goes_on

    def _block(self, at: int) -> bool:
        """Run a block of these, or up to one that fails, prints or takes long; False if the job was cancelled."""
        calls, append, clock = self._calls, self._outputs.append, time.perf_counter
        function = calls.function
        interrupter, printed = self._interrupter, self._recorder.first
        kind: type | None = None
        now = began = clock()
        due = began + SHOWN_SECONDS
        try:
            interrupter.open = True
            for value in calls.arguments[at : at + BLOCK_ITEMS]:
                began = now
                output = function(value)
                if type(output) is not kind:
                    kind, output = self._seen(output)
                append(output)
                now = clock()
                if now >= due or printed:
                    break
            interrupter.open = False
        except BaseException as error:
            interrupter.open = False
            self._put()
            return self._failed(error, clock() - now)
        if now >= due or printed:
            self._ended_notably(now - began)
        if interrupter.signalled:
            interrupter.settle()
        return True

    def _seen(self, output: Any) -> tuple[type | None, Any]:
        """A type that outputs may have and be kept as they are, and the output as it may be kept.

        What is not plain may still change, or be the same object another time: it is encoded at once.
        """
        kind = type(output)
        if kind in PLAIN or kind is float:
            self._kinds.add(kind)
            return kind, output
        self._kinds.add(msgspec.Raw)
        return None, msgspec.Raw(self._form(output))

    def _failed(self, error: BaseException, seconds: float) -> bool:
        interrupter, recorder, here = self._interrupter, self._recorder, self._here
        our_frames = _OUR_FRAMES + self._calls.our_frames
        if interrupter.hit is Why.CANCELLED:
            recorder.take()  # nobody asks for it, and it must not become the next item's
            return False
        self._report.failed(
            *(here.place, self._key(), error, interrupter.hit, recorder.take(), seconds),
            our_frames=our_frames,
        )
        here.place += 1
        if interrupter.signalled:
            interrupter.settle()
        return True

    def _ended_notably(self, seconds: float) -> None:
        """The item that ended last has printed, or took long."""
        here, outputs = self._here, self._outputs
        if text := self._recorder.take():
            self._report.log(here.place + len(outputs) - 1, text)
        if seconds >= SHOWN_SECONDS:
            last = outputs.pop()
            self._put()
            self._put_one(last, seconds)
            self._on_long(self._report, seconds)

    def _put(self) -> None:
        """Report the outputs there are."""
        here, outputs = self._here, self._outputs
        if not outputs:
            return
        count = len(outputs)
        lines = self._lines()
        if lines is not None:
            self._report.succeeded_all(here.place, count, lines)
            here.place += count
            outputs.clear()
            return
        apart = outputs.copy()
        outputs.clear()
        for output in apart:
            self._put_one(output, 0.0)

    def _put_one(self, output: Any, seconds: float) -> None:
        here = self._here
        try:
            text = bytes(output) if type(output) is msgspec.Raw else self._form(output)
        except Exception as error:
            self._report.failed(here.place, self._key(), error, None, "", seconds, our_frames=_OUR_FRAMES)
        else:
            self._report.succeeded(here.place, self._key(), text, seconds)
        here.place += 1

    def _key(self) -> Key:
        return self._calls.key(self._here.place - self._start)

    def _told(self, places: range) -> Iterable[_Line | _KeyedLine]:
        """What is to be encoded of these items, which are those of all outputs."""
        indexes = self._report.indexes(places)
        if not self._has_keys:
            return map(_Line, indexes, self._outputs)
        at = places.start - self._start
        return map(_KeyedLine, indexes, map(self._calls.key, range(at, at + len(indexes))), self._outputs)

    def _lines(self) -> bytes | None:
        """The lines of all outputs; None if one of them has no form, or all are too much at once."""
        outputs, place = self._outputs, self._here.place
        if float in self._kinds and not all(
            map(math.isfinite, outputs if len(self._kinds) == 1 else filter(_is_float, outputs))
        ):
            return None
        try:
            lines = _encode_lines(list(self._told(range(place, place + len(outputs)))))
        except Exception:
            return None
        return lines if len(lines) <= LINE_BYTES_MAX else None


def _is_float(output: Any) -> bool:
    return type(output) is float


CALLER = Stretch._block.__code__
"""What runs between two items."""
