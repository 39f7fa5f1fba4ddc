"""Failures that are the same trouble have the same group, for ever; others have another."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.groups import MESSAGE_CHARS_MAX, _alike, _group_of, group_of, group_of_line, mask

TRACEBACK = """Traceback (most recent call last):
  File "{root}/mytasks.py", line {line}, in total
    return json.loads(text)["sum"]
           ^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode
    raise JSONDecodeError("Expecting value", s, err.value) from None
json.decoder.JSONDecodeError: {message}
"""
STACK = """Fatal Python error: Segmentation fault

Current thread 0x00007f3a (most recent call first):
  File "/srv/.venv/lib/python3.11/site-packages/numpy/core.py", line 9 in dot
  File "/srv/mytasks.py", line 31 in product"""


def an_error(**members: Any) -> dict[str, Any]:
    return {"kind": "exception", "type": "ValueError", "message": "bad"} | members


def undecodable(root: str = "/srv", line: int = 12, column: int = 1) -> dict[str, Any]:
    message = f"Expecting value: line 1 column {column} (char {column - 1})"
    traceback = TRACEBACK.format(root=root, line=line, message=message)
    return an_error(type="JSONDecodeError", message=message, traceback=traceback)


FROZEN = {
    "a2d0a9edf446": (an_error(), None),
    "2dbd5f3e452a": (undecodable(), "mytasks.py:12 in total"),
    "79d7f60d2720": (
        an_error(kind="invalid_input", type="InvalidInput", message="x: Input should be a number"),
        None,
    ),
    "8685641c7216": (
        an_error(kind="crashed", type="WorkerDied", message="ended by SIGKILL", signal="SIGKILL"),
        None,
    ),
    "5c3572d0cea3": (
        an_error(kind="crashed", type="WorkerDied", message="exited with status 3", exit_code=3),
        None,
    ),
    "4eb7f53c506a": (
        an_error(kind="crashed", type="WorkerDied", signal="SIGSEGV", traceback=STACK),
        "mytasks.py:31 in product",
    ),
    "5ad4e9e4d4ab": (an_error(kind="timeout", type="TimeoutError", message="took longer than 0.3 s"), None),
    "a4fcd0888169": (
        an_error(kind="out_of_memory", type="MemoryError", message="took more memory than a worker may"),
        None,
    ),
}


@pytest.mark.parametrize("group_id", FROZEN)
def test_a_group_id_is_for_ever(group_id: str) -> None:
    """Ids stand in addresses and stored digests; if this fails, the rule was changed, and it must not be."""
    error, place = FROZEN[group_id]

    group = group_of(error)

    assert (group.id, group.place) == (group_id, place)


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("invalid literal for int() with base 10: 'abc'", "invalid literal for int() with base <n>: '…'"),
        ("can't open '/a b' in /srv/data/a.csv: [Errno 2]", "can't open '…' in <path>: [Errno <n>]"),
        ('no "col" in <Foo object at 0x7f3a12bc>', 'no "…" in <Foo object at <hex>>'),
        ("job 123e4567-e89b-12d3-a456-426614174000 cost -3.5e-7", "job <uuid> cost <n>"),
        ("GET https://x.example/z?a=1, status=404", "GET <url>, status=<n>"),
        ("file sha256-" + "ab12" * 16 + " is gone", "file <hex> is gone"),
        ("10.0.0.1:8000\n  refused item12, read and/or write", "<n>:<n> refused item<n>, read and/or write"),
    ],
)
def test_what_differs_from_item_to_item_is_masked(message: str, masked: str) -> None:
    """Numbers, quoted texts, addresses, paths, hexadecimals and UUIDs go; words stay."""
    assert mask(message) == masked


def test_another_installation_or_line_number_is_the_same_group() -> None:
    """The file's directory, and lines added above the one that failed, do not count."""
    assert group_of(undecodable()).id == group_of(undecodable("/opt/there", line=40, column=7)).id


def test_another_place_of_the_task_is_another_group() -> None:
    """The same message from two statements is two troubles; from two places of a library it is one."""
    error = undecodable()
    elsewhere = error["traceback"].replace('["sum"]', '["count"]')
    deeper = error["traceback"].replace("in raw_decode", "in decode")

    assert group_of(error | {"traceback": elsewhere}).id != group_of(error).id
    assert group_of(error | {"traceback": deeper}).id == group_of(error).id


def test_where_a_time_limit_struck_does_not_count() -> None:
    """That is chance, whether the item ended when asked or was killed."""
    asked = an_error(kind="timeout", type="TimeoutError", message="took longer than 2 s")

    assert group_of(asked | {"traceback": undecodable()["traceback"]}) == group_of(asked)


@pytest.mark.parametrize("member", ["kind", "type", "message", "signal", "exit_code"])
def test_each_of_these_makes_another_group(member: str) -> None:
    """Whatever else is the same."""
    assert group_of(an_error() | {member: "other"}).id != group_of(an_error()).id


def test_a_message_that_looks_like_a_frame_is_no_place() -> None:
    """What the task puts into its message does not choose the group's place."""
    message = 'bad\n  File "fake.py", line 1, in fake\n    fake()'
    traceback = TRACEBACK.format(root="/srv", line=12, message=message)

    assert group_of(an_error(message=message, traceback=traceback)).place == "mytasks.py:12 in total"


def test_a_line_is_grouped_by_its_error() -> None:
    """Index, key, attempts and duration do not count."""
    line = (
        b'{"index":3,"key":"b","error":{"kind":"exception","type":"ValueError","message":"bad"},"attempts":3}'
    )

    assert group_of_line(line) == group_of(an_error())


_PARTS = st.one_of(
    st.text("0123456789", min_size=1, max_size=40),
    st.text("abcdefABCDEF-0123456789", max_size=40),
    st.sampled_from(
        [
            "0x",
            "0X",
            "1x",
            "://",
            "http://",
            "/",
            "~/",
            ".",
            "-",
            "e-",
            "'",
            '"',
            "`",
            "\\",
            " ",
            "sha256-",
            "٣",
            "é",
        ]
    ),
    st.uuids().map(str),
)


@given(st.lists(_PARTS, max_size=12).map("".join))
def test_messages_that_differ_in_digits_only_have_one_group(message: str) -> None:
    """Whichever the digits are, so that what the rule says of one of them holds for all."""
    assert mask(_alike(message)) == mask(message)
    assert group_of(an_error(message=message)).message == mask(message)


def test_the_rule_is_followed_once_for_many_failures_that_are_alike() -> None:
    """It takes long; of a hundred thousand failures mostly numbers differ."""
    looked_at = _group_of.cache_info().misses

    groups = {group_of(undecodable(column=column)) for column in range(1, 10_000)}

    assert len(groups) == 1
    assert _group_of.cache_info().misses - looked_at < 100


@given(st.dictionaries(st.sampled_from(["kind", "type", "message", "traceback", "signal"]), st.text()))
def test_whatever_a_failure_says_it_has_a_group(error: dict[str, str]) -> None:
    """Bounded, printable in one line, and the same each time."""
    group = group_of(error)

    assert group == group_of(dict(error))
    assert len(group.id) == 12
    assert int(group.id, 16) >= 0
    assert len(group.message) <= MESSAGE_CHARS_MAX
    assert "\n" not in group.message
