"""Frames survive the stream, however it is cut."""

import mmap
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.wire import (
    HEADER,
    NO_LIMIT,
    PARTS_MAX,
    SLOT_BYTES,
    Frame,
    FrameReader,
    Kind,
    Marks,
    ProtocolError,
    ended,
)

words = st.integers(0, 2**32 - 1)
texts = st.binary(max_size=60)
frames = st.builds(Frame, st.sampled_from(Kind), texts, words, words, words, words, texts)


def stream_of(sent: list[Frame]) -> bytes:
    return b"".join(part for frame in sent for part in frame.buffers())


@given(sent=st.lists(frames, max_size=8), cuts=st.lists(st.integers(0, 700), max_size=12))
def test_frames_come_out_as_they_went_in(sent: list[Frame], cuts: list[int]) -> None:
    """For every way to cut the stream, empty pieces included."""
    stream = stream_of(sent)
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    reader = FrameReader()

    got = [
        frame
        for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)
        for frame in reader.feed(stream[start:end])
    ]

    assert got == sent


@given(sent=st.lists(frames, max_size=4))
def test_a_frame_comes_with_its_last_byte(sent: list[Frame]) -> None:
    """No later: what is complete is not held back for what follows."""
    reader = FrameReader()
    for frame in sent:
        *all_but_last, last = (bytes([byte]) for byte in stream_of([frame]))
        assert [found for byte in all_but_last for found in reader.feed(byte)] == []
        assert list(reader.feed(last)) == [frame]


@given(seconds=st.floats(0, 1e8))
def test_how_long_a_chunk_took_is_told_to_the_microsecond(seconds: float) -> None:
    """Of three years, too."""
    (frame,) = FrameReader().feed(stream_of([ended(5, seconds)]))

    assert abs(frame.took_seconds - seconds) < 1e-6


def test_a_long_frame_is_put_together_as_it_comes() -> None:
    """So that its last byte brings no more work than the others; what follows it is not part of it."""
    frame = Frame(Kind.PART, random.Random(0).randbytes(1000 * PARTS_MAX), 1, 2, 3, 4, b"head")
    stream = stream_of([frame, Frame(Kind.DONE, b"x", 5)])
    reader = FrameReader()
    got: list[Frame] = []
    for start in range(0, len(stream), 100):
        got += reader.feed(stream[start : start + 100])
        assert sum(map(len, reader._parts)) <= 100 * PARTS_MAX

    assert got == [frame, Frame(Kind.DONE, b"x", 5)]


def test_what_follows_a_frame_is_not_part_of_it() -> None:
    """Wherever the stream is cut in three."""
    sent = [Frame(Kind.PART, b"body", 1, 2, 3, 4, b"head"), Frame(Kind.DONE, b"x", 5), Frame(Kind.DONE)]
    stream = stream_of(sent)
    for start in range(len(stream)):
        for end in range(start, len(stream)):
            reader = FrameReader()
            pieces = (stream[:start], stream[start:end], stream[end:])
            assert [frame for piece in pieces for frame in reader.feed(piece)] == sent


@given(parts=st.lists(texts))
def test_a_body_may_be_sent_in_parts(parts: list[bytes]) -> None:
    """What comes is one body."""
    (frame,) = FrameReader().feed(stream_of([Frame(Kind.PART, head=b"head", more=tuple(parts))]))

    assert (frame.head, frame.body) == (b"head", b"".join(parts))


@given(chunk_id=st.integers(0, 2**40))
def test_a_chunks_number_may_outgrow_its_word(chunk_id: int) -> None:
    """What travels is its lower 32 bits, in the header and in the mark alike."""
    (frame,) = FrameReader().feed(stream_of([Frame(Kind.DONE, b"", chunk_id)]))

    assert frame.chunk_id == chunk_id & 0xFFFFFFFF


def test_a_length_over_the_limit_is_never_waited_for() -> None:
    """It is refused as soon as the header is there; what came before it is delivered."""
    good = Frame(Kind.PART, b"x" * 10)
    reader = FrameReader(body_bytes_max=10)
    feed = reader.feed(stream_of([good]) + HEADER.pack(5, 6, Kind.PART, 0, 0, 0, 0))

    assert next(feed) == good
    with pytest.raises(ProtocolError, match="11 bytes"):
        next(feed)


@given(kind=st.integers(0, 255).filter(lambda kind: kind not in set(Kind)))
def test_a_kind_that_does_not_exist_is_refused(kind: int) -> None:
    """Whatever wrote it, it was not our worker."""
    with pytest.raises(ProtocolError, match=f"kind {kind}"):
        list(FrameReader().feed(HEADER.pack(0, 0, kind, 0, 0, 0, 0)))


@given(chunk_id=words, position=st.integers(0, 2**32 - 2))
def test_a_mark_names_a_chunk_and_a_place_in_it(chunk_id: int, position: int) -> None:
    """Or a chunk and no item."""
    assert Marks.read(chunk_id << 32 | position + 1) == (chunk_id, position)
    assert Marks.read(chunk_id << 32) == (chunk_id, None)


def test_the_words_of_two_workers_are_apart() -> None:
    """Each has 64 bytes, a cache line, of its own."""
    memory = mmap.mmap(-1, 3 * SLOT_BYTES)
    marks = [Marks(memory, number) for number in range(3)]
    for each in marks:
        each.clear()
    before = bytes(memory)
    words_of_1 = (marks[1].mark, marks[1].sending, *marks[1].limits)

    for word in words_of_1:
        word.value = 2**64 - 1

    assert bytes(memory)[:SLOT_BYTES] == before[:SLOT_BYTES]
    assert bytes(memory)[2 * SLOT_BYTES :] == before[2 * SLOT_BYTES :]
    assert len({word.value for word in words_of_1}) == 1
    marks[1].clear()
    assert [word.value for word in words_of_1] == [0, 0, NO_LIMIT, NO_LIMIT]
