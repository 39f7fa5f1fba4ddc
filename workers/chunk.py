"""Run one chunk: decode, run and encode its items, one after the other.

How it works: each item is marked in shared memory before anything is done for it, so whatever its line, its
function or its output does to this process is known to be its doing.  Finished lines are sent at the end of
the chunk, every `FLUSH_SECONDS`, or when there are `FLUSH_BYTES` of them.

Invariant: every item that was started is reported, in order, before the chunk is; no exception gets past its item.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import ValidationError

from workers.describe import describe_exception
from workers.files import File
from workers.task import TaskSpec
from workers.wire import Frame, Kind, Marks

FLUSH_SECONDS = 0.050
FLUSH_BYTES = 256 << 10
LINE_BYTES_MAX = 64 << 20
"""A longer result is refused as `too_large`."""
_SHOWN_SECONDS = 0.001

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PLAIN = frozenset({int, bool, str, type(None)})


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


@dataclass(frozen=True, slots=True)
class Order:
    """What a chunk's frame says besides its lines."""

    task: str
    params: dict[str, Any]
    attempt: int
    max_attempts: int
    key_field: str | None
    limit: int

    @classmethod
    def parse(cls, header: bytes) -> "Order":
        fields = json.loads(header)
        return cls(**fields | {"params": json.loads(fields["params"])})


def bind(spec: TaskSpec, params: Mapping[str, Any], item: object) -> dict[str, Any]:
    """The keyword arguments that an item means.  InvalidInput, naming the parameter, if it means none.

    One parameter that admits objects: the item is its value.  Else an object is keyword arguments, an array
    positional ones if the task requires two or more, and anything else the first parameter's value.
    """
    names = list(spec.parameters)
    if spec.takes_whole_item:
        given: dict[str, Any] = {names[0]: item}
    elif isinstance(item, dict):
        given = item
    elif not names:
        if item is not None:
            raise InvalidInput("this task takes no input: send null or {}")
        given = {}
    elif isinstance(item, list) and len(spec.required) >= 2:
        if len(item) > len(names):
            raise InvalidInput(f"{len(item)} arguments, but the task takes {len(names)}: {', '.join(names)}")
        given = dict(zip(names, item, strict=False))
    else:
        given = {names[0]: item}
    return validated(spec, {**params, **given})


def validated(spec: TaskSpec, values: dict[str, Any]) -> dict[str, Any]:
    """The values as the task's types.  InvalidInput if they cannot be."""
    try:
        return spec.arguments.validator.validate_python(values)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise InvalidInput(_told(error)) from None


def _told(error: ValidationError, *place: str) -> str:
    """What is wrong, and where: `width: Input should be …`."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, (*place, *fault['loc'])))}: {fault['msg']}" for fault in faults[:5])


def caller(spec: TaskSpec, params: dict[str, Any]) -> Callable[[bytes], Any]:
    """A function from an item's line to the task's output."""
    function = spec.function
    # Most tasks take one thing: then the item is validated as that, without the detour over named arguments.
    first = spec.first.validator.validate_python if spec.first is not None and not params else None
    whole = spec.takes_whole_item

    def call(line: bytes) -> Any:
        try:
            item = _decode(line)
        except _DECODE_ERRORS as error:
            raise InvalidInput(f"not JSON: {error}") from None
        if first is None or (not whole and type(item) is dict):
            return function(**bind(spec, params, item))
        try:
            value = first(item)
        except ValidationError as error:
            raise InvalidInput(_told(error, next(iter(spec.parameters)))) from None
        return function(value)

    return call


def encode(spec: TaskSpec, files: list[str], value: object) -> bytes:
    """The output as JSON; ids of the files it names are added to `files`.  InvalidOutput if it has no form."""
    if type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
        return _encode(value)

    def foreign(value: Any) -> Any:
        if isinstance(value, File):
            files.append(value.id)
            return value.reference()
        if callable(listed := getattr(value, "tolist", None)):  # numpy's scalars and arrays
            return listed()
        raise TypeError(f"a {type(value).__name__} has no form in JSON")

    if type(value) is File:
        return _encode(foreign(value))
    try:
        text = spec.output.dump_json(value, warnings=False, fallback=foreign)
    except Exception as error:
        # pydantic's own classes change between releases, and a value's own methods may raise anything.
        raise InvalidOutput(describe_exception(error, skip_frames=0)["message"]) from None
    if b"NaN" in text or b"Infinity" in text:
        try:
            _decode(text)
        except msgspec.DecodeError:
            raise InvalidOutput("NaN and infinity have no form in JSON; return null instead") from None
    return text


class Runner:
    """Runs chunks on behalf of one worker."""

    def __init__(self, specs: Mapping[str, TaskSpec], marks: Marks, send: Callable[[Frame], None]) -> None:
        self._specs = specs
        self._marks = marks
        self._send = send

    def run(self, frame: Frame) -> None:
        """Run the chunk and report it all, `Kind.DONE` last."""
        header, _, body = frame.body.partition(b"\n")
        order = Order.parse(header)
        spec = self._specs[order.task]
        call = caller(spec, order.params)
        limit = self._marks.limits[order.limit]
        mark = self._marks.mark
        base = frame.chunk_id << 32
        clock = time.perf_counter
        report = _Report(frame, self._send, self._marks)
        started = clock()  # of the item that runs: when the one before it ended
        flush_at = started + FLUSH_SECONDS
        lines = body.split(b"\n")
        lines.pop()  # what follows the last newline: nothing
        for position, line in enumerate(lines, start=1):
            mark.value = base + position
            # First say what is about to start, then look whether it may: the pool does it the other way round.
            if position > limit.value:
                mark.value = base
                break
            index = frame.first + position - 1
            try:
                output = encode(spec, report.files, call(line))
                if len(output) > LINE_BYTES_MAX:
                    raise TooLarge(f"{len(output)} bytes; a result may have {LINE_BYTES_MAX}")
            except BaseException as error:
                now = clock()
                failure = _failure(error)
                if failure["kind"] == "exception" and order.attempt < order.max_attempts:
                    report.unlucky(index, failure)
                else:
                    rest = b',"error":%b' % _encode(failure)
                    report.add(index, _line(order, index, line, rest, now - started), failed=True)
            else:
                now = clock()
                rest = b',"output":' + output
                report.add(index, _line(order, index, line, rest, now - started), failed=False)
            started = now
            if now >= flush_at or report.bytes >= FLUSH_BYTES:
                report.flush()
                started = clock()
                flush_at = started + FLUSH_SECONDS
        report.flush()
        self._send(Frame(Kind.DONE, b"", frame.chunk_id))
        mark.value = 0


class _Report:
    """Finished lines on their way out."""

    def __init__(self, frame: Frame, send: Callable[[Frame], None], marks: Marks) -> None:
        self._chunk_id = frame.chunk_id
        self._send = send
        self._marks = marks
        self._start = frame.first
        self._lines: list[bytes] = []
        self._failed = 0
        self.files: list[str] = []
        self.bytes = 0

    def add(self, index: int, line: bytes, *, failed: bool) -> None:
        if not self._lines:
            self._start = index
        self._lines.append(line)
        self._failed += failed
        self.bytes += len(line)

    def unlucky(self, index: int, failure: Mapping[str, Any]) -> None:
        self.flush()
        self._send(Frame(Kind.UNLUCKY, _encode(failure), self._chunk_id, index))

    def flush(self) -> None:
        if not self._lines:
            return
        header = json.dumps(self.files).encode() if self.files else b""
        body = b"%b\n%b\n" % (header, b"\n".join(self._lines))
        self._marks.sending.value = 1
        self._send(Frame(Kind.PART, body, self._chunk_id, self._start, len(self._lines), self._failed))
        self._marks.sending.value = 0
        self._lines.clear()
        self.files = []
        self._failed = self.bytes = 0


def _line(order: Order, index: int, item: bytes, rest: bytes, seconds: float) -> bytes:
    """A result line; its members and their order are promised."""
    key = _key(item, order.key_field) if order.key_field is not None else b""
    attempts = b',"attempts":%d' % order.attempt if order.attempt > 1 else b""
    took = b',"duration_ms":%.1f' % (seconds * 1e3) if seconds >= _SHOWN_SECONDS else b""
    return b'{"index":%d%b%b%b%b}' % (index, key, rest, attempts, took)


def _failure(error: BaseException) -> dict[str, Any]:
    """The `error` member of a failed item's line."""
    # `type(…) is`: an exception of the task's own may lie about its class, or raise when asked for it.
    if kind := _OUR_KINDS.get(type(error)):
        return {"kind": kind, "type": type(error).__name__, "message": str(error)}
    kind = "out_of_memory" if type(error) is MemoryError else "exception"
    return {"kind": kind, **describe_exception(error, skip_frames=2)}


def _key(item: bytes, key_field: str) -> bytes:
    try:
        key = _decode(item)[key_field]
    except (*_DECODE_ERRORS, KeyError, TypeError, IndexError):
        return b""
    return b',"key":' + _encode(key) if isinstance(key, str | int | float | bool) else b""
