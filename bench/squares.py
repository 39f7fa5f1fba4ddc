"""Items that cost nothing but their way there and back, and what is to come of them."""

from collections.abc import Iterable

import msgspec

from bench.figure import WrongResult


class Line(msgspec.Struct):
    """A result; decoding fails where there is no output."""

    index: int
    output: int


_decoded = msgspec.json.Decoder(Line).decode_lines


def json_lines(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


def json_array(count: int) -> bytes:
    return b"[%b]" % b",".join(b"%d" % number for number in range(count))


def json_objects(count: int) -> bytes:
    return b"".join(b'{"x":%d}\n' % number for number in range(count))


def check(pieces: Iterable[bytes], count: int) -> None:
    """Each index came once, with its square, in pieces of whole lines; else WrongResult."""
    seen = bytearray(count)
    for piece in pieces:
        for line in _decoded(piece):
            if line.output != line.index**2:
                raise WrongResult(f"the square of {line.index} is not {line.output}")
            if line.index >= count or seen[line.index]:
                raise WrongResult(f"a result too many, of item {line.index}")
            seen[line.index] = 1
    if not all(seen):
        raise WrongResult(f"{sum(seen):,} results, not one for each of {count:,} items")
