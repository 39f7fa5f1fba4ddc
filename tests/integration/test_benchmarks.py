"""Every workload runs from start to end and checks what it is given; how long anything takes is not looked at."""

import pytest

from bench.figure import Figure
from bench.following import as_document, as_lines, follow
from bench.report import recorded, table
from bench.server import Server
from bench.squares import check, json_array, json_lines
from bench.workloads import WORKLOADS


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_gives_figures_that_can_be_written_and_read(name: str) -> None:
    """Tiny as it is here, each of its figures has values, and none has the name of another."""
    figures: list[Figure] = WORKLOADS[name]("tiny")

    back = recorded(table({name: figures}))
    assert all(figure.values for figure in figures)
    assert len({record.name for record in back}) == len(figures) > 0


def test_the_same_items_in_both_forms_give_what_is_checked(server: Server) -> None:
    """A thousand squares, as lines and as an array."""
    for submission in (as_lines("square", json_lines(1_000)), as_document("square", json_array(1_000))):
        check([follow(server.url, submission)], 1_000)
