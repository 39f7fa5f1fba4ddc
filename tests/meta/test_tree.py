"""The tree keeps its own rules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
SOURCES = [
    path
    for folder in ("app", "workers", "tests", "bench", "docker")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".js", ".css"}
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_holds_two_ideas(path: Path) -> None:
    """A source file has at most 400 lines."""
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.suffix == ".py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_function_holds_two_ideas(path: Path) -> None:
    """A function has at most 60 lines."""
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    }

    assert long == {}


@pytest.mark.parametrize(
    ("name", "options"), [("requirements.lock", ["--no-dev"]), ("requirements-dev.lock", [])]
)
def test_the_lock_for_pip_is_that_of_uv(name: str, options: list[str]) -> None:
    """requirements*.lock hold what uv.lock holds, so both ways of installing give the same."""
    command = [sys.executable, "-m", "uv", "export", "--quiet", "--frozen", "--offline", *options]
    exported = subprocess.run(
        [*command, "--format", "requirements-txt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    def pins(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.lstrip().startswith("#")]

    assert pins((ROOT / name).read_text()) == pins(exported.stdout)
