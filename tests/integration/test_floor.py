"""What jobs of one item could cost is measured with the client that measures what they do cost."""

from bench.bare import STEPS
from bench.floor import SERVICE, measure, table


def test_each_server_answers_and_its_cost_is_told() -> None:
    """A row for each; whoever has a part in an answer used some time for it, and only who has."""
    turns = measure("tiny")

    lines = table(turns).splitlines()
    alone = [turn.cpu for turn in turns["answer"]]
    assert list(turns) == [*STEPS, SERVICE]
    assert len(lines) == 1 + len(turns)
    assert all(
        turn.rate > 0 and turn.cpu["loop"] > 0 and turn.client > 0 for its in turns.values() for turn in its
    )
    assert all(turn.cpu["workers"] > 0 for name in ("call", "keep", SERVICE) for turn in turns[name])
    assert all(cpu["workers"] == 0 for cpu in alone)
