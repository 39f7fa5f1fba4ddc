"""Whatever command, file or test a document names is there: a figure is worth what the command that made it is."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.workloads import WORKLOADS

ROOT = Path(__file__).parents[2]

DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "bench/**/*.md", "Makefile") for path in ROOT.glob(pattern)
)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`|<!--(.*?)-->", re.DOTALL)
_MAKE = re.compile(r"(?:^|[ (])make ([\w-]+)")
_PYTHON = re.compile(r"\bpython -m ([\w.]+)((?: +[\w./-]+)*)")
_FILE = re.compile(r"(?<![\w./-])((?:app|workers|bench|tests|docker)/[\w./]+\.\w+)")
_TEST = re.compile(r"(?<!\w)(test_\w+\.py)(?:::(test_\w+))?")
_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_OF_WORKLOADS = {"bench", "bench.check"}
"""Modules whose arguments, but for options, are names of workloads."""


def code(document: Path) -> Iterator[str]:
    """Each line of what is set as code, without comments; a span of several lines is one."""
    text = document.read_text()
    if document.suffix != ".md":
        yield from text.splitlines()
        return
    for fence in _FENCE.findall(text):
        yield from (line.partition(" #")[0] for line in fence.splitlines())
    for span in _SPAN.findall(_FENCE.sub("", text)):
        yield " ".join("".join(span).split())


def named(pattern: re.Pattern[str]) -> list[tuple[str, ...]]:
    """What the pattern finds in any document, each once, behind the document's name."""
    found = [
        (str(document.relative_to(ROOT)), *match.groups())
        for document in DOCUMENTS
        for line in code(document)
        for match in pattern.finditer(line)
    ]
    return list(dict.fromkeys(found))


MODULES = named(_PYTHON)


@pytest.mark.parametrize(("document", "target"), [row for row in named(_MAKE) if row[0] != "Makefile"])
def test_a_target_that_is_named_is_in_the_makefile(document: str, target: str) -> None:
    """`make …`, wherever it is set as code."""
    assert target in _TARGETS, f"{document}: make {target}"


@pytest.mark.parametrize(("document", "module", "arguments"), MODULES)
def test_a_module_that_is_named_can_be_run(document: str, module: str, arguments: str) -> None:
    """`python -m …` finds it; one of ours does something when it is run, and knows the options."""
    name = module.removesuffix(".")
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{document}: there is no {name}"
    if spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
        assert spec is not None, f"{document}: {name} is a package that cannot be run"
    assert spec.origin is not None
    source = Path(spec.origin)
    if not source.is_relative_to(ROOT / name.partition(".")[0]):
        return
    assert '__name__ == "__main__"' in source.read_text(), f"{document}: {name} does nothing when it is run"
    sources = "".join(path.read_text() for path in (ROOT / name.partition(".")[0]).rglob("*.py"))
    unknown = [word for word in arguments.split() if word.startswith("--") and f'"{word}"' not in sources]
    assert unknown == [], f"{document}: {name} does not know {unknown}"


@pytest.mark.parametrize(
    ("document", "arguments"), [(row[0], row[2]) for row in MODULES if row[1] in _OF_WORKLOADS]
)
def test_a_workload_that_is_named_is_one(document: str, arguments: str) -> None:
    """`python -m bench W1 …` measures what it says."""
    unknown = {word for word in arguments.split() if not word.startswith("--")} - WORKLOADS.keys()
    assert unknown == set(), f"{document}: there are no workloads {unknown}"


@pytest.mark.parametrize(("document", "file"), named(_FILE))
def test_a_file_that_is_named_is_there(document: str, file: str) -> None:
    """Whatever looks like a path within the project is one."""
    assert (ROOT / file).exists(), f"{document}: there is no {file}"


@pytest.mark.parametrize(("document", "file", "test"), named(_TEST))
def test_a_test_that_is_named_is_there(document: str, file: str, test: str | None) -> None:
    """A promise is shown by a test of that name, in a file of that name."""
    sources = [path.read_text() for path in (ROOT / "tests").rglob(file)]
    assert sources, f"{document}: there is no {file}"
    assert any(f"def {test or 'test_'}" in source for source in sources), f"{document}: {file} has no {test}"


def test_commands_are_found_where_they_are_named() -> None:
    """Neither pattern has come to look past what documents say."""
    assert {"demo", "run", "test"} <= {target for document, target in named(_MAKE) if document == "README.md"}
    assert {"app", "bench", "bench.peers", "bench.chunking", "bench.soak"} <= {row[1] for row in MODULES}
