"""What a worker reports about the items of a chunk: by their places, but in their lines by their indexes.

Invariant: results leave in the order of their items, and a line's members stand in the promised order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any

import msgspec

from workers.context import Here
from workers.describe import MESSAGE_CHARS_MAX, describe_exception, shortened
from workers.interrupt import Why
from workers.task import TaskSpec
from workers.wire import Frame, Kind, Marks

SHOWN_SECONDS = 0.001
"""Shorter durations are not worth a place in every line."""
LINE_BYTES_MAX = 64 << 20
"""A longer result is refused as `too_large`."""
LONG_BYTES = 16 << 10
"""An item or a result of so many is not copied to stand beside others."""
TOGETHER_MAX = 64
"""Parts that are sent as they are; more are put together first."""
SETTLED_MAX = 1024
"""Outputs that wait to be encoded together."""
Line = bytes | memoryview
Key = str | int | float | bool | msgspec.UnsetType
_KEYS = (str, int, float, bool)
Output = bytes | int | float | str | None
"""As JSON, or a value that is settled (`workers.outputs`)."""
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class InvalidInput(Exception):
    """The item is not JSON, or not what the task takes."""


class InvalidOutput(Exception):
    """What the task returned has no form in JSON."""


class TooLarge(Exception):
    """What the task returned is over the limit."""


_OUR_KINDS: Mapping[type[BaseException], str] = {
    InvalidInput: "invalid_input",
    InvalidOutput: "invalid_output",
    TooLarge: "too_large",
}


class Order(msgspec.Struct, frozen=True):
    """What a chunk's frame says besides its lines."""

    task: str
    params: dict[str, Any]
    attempt: int
    max_attempts: int
    key_field: str | None
    timeout_seconds: float | None
    limit: int
    light: bool = False
    long: bool = False
    check: bool = False
    ranges: Sequence[tuple[int, int]] = ()

    @staticmethod
    def parse(header: bytes) -> "Order":
        return _order(header)


_order = msgspec.json.Decoder(Order).decode


class Report:
    """Finished lines of one chunk on their way out."""

    def __init__(
        self,
        frame: Frame,
        order: Order,
        no_retry_on: tuple[type[BaseException], ...],
        marks: Marks,
        send: Callable[..., None],
    ) -> None:
        self._no_retry_on = no_retry_on
        self._chunk_id = frame.chunk_id
        self._order = order
        self._marks = marks
        self._send = send
        self._first = self._start = frame.first
        indexes = chain.from_iterable(starmap(range, order.ranges))
        self._indexes = list(indexes) if order.ranges else range(frame.first, frame.first + frame.count)
        self._parts: list[bytes] = []
        self._failed = 0
        self._settled: list[tuple[int, Key, Output, float]] = []
        """What has no line yet, after what has."""
        self.count = 0
        self.files: list[str] = []
        """Ids of the files that the lines name."""
        self.bytes = 0

    def indexes(self, places: range) -> Sequence[int]:
        """Of the items there."""
        return self._indexes[places.start - self._first : places.stop - self._first]

    def succeeded(self, place: int, key: Key, output: Output, seconds: float) -> None:
        if type(output) is bytes:
            self._put(place, key, b'"output":', output, seconds)
            return
        self._settled.append((place, key, output, seconds))
        if len(self._settled) >= SETTLED_MAX:
            self._put_settled()

    def succeeded_all(self, first: int, count: int, lines: bytes) -> None:
        """Items from `first` on have succeeded, in less than what is shown, and these are their lines."""
        self._add(first, (lines,), count)

    def failed(
        self,
        place: int,
        key: Key,
        error: BaseException,
        hit: Why | None,
        log: str,
        seconds: float,
        *,
        our_frames: int = 3,
    ) -> None:
        """The item's failure; or, with attempts to spare, a report that it should run again.

        `our_frames` stand above the task's own in the traceback.
        """
        failure = failure_of(error, hit, our_frames)
        if log:
            failure["log"] = log
        again = failure["kind"] in RETRIED and not isinstance_safely(error, self._no_retry_on)
        if again and self._order.attempt < self._order.max_attempts:
            self.flush()
            self._send(Frame(Kind.UNLUCKY, _encode(failure), self._chunk_id, place))
            return
        self._failed += 1
        self._put(place, key, b'"error":', _encode(failure), seconds)

    def log(self, place: int, text: str) -> None:
        """What an item that succeeded has printed."""
        self._send(Frame(Kind.LOG, text.encode(), self._chunk_id, place))

    def progress(self, place: int, share: float, message: str) -> None:
        """How far the item that runs says it is."""
        self._send(Frame(Kind.PROGRESS, _encode([share, message]), self._chunk_id, place))

    def flush(self, *last: Frame) -> None:
        """Send what there is, and these together with it."""
        self._put_settled()
        if not self._parts:
            if last:
                self._send(*last)
            return
        parts = self._parts if len(self._parts) <= TOGETHER_MAX else [b"".join(self._parts)]
        part = Frame(
            Kind.PART,
            parts[0],
            self._chunk_id,
            self._start,
            self.count,
            self._failed,
            head=_encode(self.files) if self.files else b"",
            more=tuple(parts[1:]),
        )
        self._marks.sending.value = 1
        self._send(part, *last)
        self._marks.sending.value = 0
        self._parts.clear()
        self.files.clear()
        self.count = self._failed = self.bytes = 0

    def _put(self, place: int, key: Key, name: bytes, value: bytes, seconds: float) -> None:
        """Add the line of one item, in parts if it is long."""
        index = self._indexes[place - self._first]
        attempt = self._order.attempt
        attempts = b',"attempts":%d' % attempt if attempt > 1 else b""
        took = b',"duration_ms":%.1f' % (seconds * 1e3) if seconds >= SHOWN_SECONDS else b""
        known = b"" if key is msgspec.UNSET else b',"key":' + _encode(key)
        if len(value) < LONG_BYTES:
            self._add(place, (b'{"index":%d%b,%b%b%b%b}\n' % (index, known, name, value, attempts, took),))
        else:
            parts = b'{"index":%d%b,%b' % (index, known, name), value, b"%b%b}\n" % (attempts, took)
            self._add(place, parts)

    def _put_settled(self) -> None:
        settled, self._settled = self._settled, []
        for place, key, output, seconds in settled:
            self._put(place, key, b'"output":', _encode(output), seconds)

    def _add(self, place: int, parts: tuple[bytes, ...], count: int = 1) -> None:
        if self._settled:
            self._put_settled()
        if not self._parts:
            self._start = place
        self._parts += parts
        self.count += count
        self.bytes += sum(map(len, parts))


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk that runs."""

    frame: Frame
    order: Order
    spec: TaskSpec
    report: Report
    here: Here


def lines_of(frame: Frame) -> Sequence[Line]:
    """The lines of a chunk's items; large ones are not copied for it."""
    body = frame.body
    if len(body) < frame.count * LONG_BYTES:
        return bytes(body).split(b"\n")[:-1]  # what follows the last newline is nothing
    whole, lines, start = memoryview(body), [], 0
    while (end := body.find(b"\n", start)) >= 0:
        lines.append(whole[start:end])
        start = end + 1
    return lines


RETRIED = frozenset({"exception", "timeout", "out_of_memory"})
"""What may go better another time; an input or output that is not right will not."""


def failure_of(error: BaseException, hit: Why | None, our_frames: int) -> dict[str, Any]:
    """The `error` member of a failed item's line."""
    # `type(…) is`: an exception of the task's own may lie about its class, or raise when asked for it.
    if (kind := _OUR_KINDS.get(type(error))) and hit is None:
        message = shortened(str(error), MESSAGE_CHARS_MAX)  # it may name members of the item
        return {"kind": kind, "type": type(error).__name__, "message": message}
    kind = "timeout" if hit is Why.TIMEOUT else "out_of_memory" if type(error) is MemoryError else "exception"
    failure = {"kind": kind, **describe_exception(error, skip_frames=our_frames)}
    if kind == "out_of_memory":
        failure["message"] = failure["message"] or "there was no memory left for what the task asked for"
    return failure


def isinstance_safely(error: BaseException, types: tuple[type[BaseException], ...]) -> bool:
    """`isinstance`, by the real class, whatever the class makes of being asked."""
    return any(cls in types for cls in type.__dict__["__mro__"].__get__(type(error)))


def key_of(item: object, key_field: str | None) -> Key:
    """What the item is known by: its member of this name, if that is a text, a number or a boolean."""
    return as_key(item.get(key_field)) if type(item) is dict else msgspec.UNSET


def as_key(value: object) -> Key:
    return value if isinstance(value, _KEYS) else msgspec.UNSET


def key_of_line(line: Line, key_field: str | None) -> Key:
    """The same, of an item that is not decoded yet."""
    if key_field is None:
        return msgspec.UNSET
    try:
        return key_of(_decode(line), key_field)
    except DECODE_ERRORS:
        return msgspec.UNSET
