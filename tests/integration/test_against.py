"""Another revision is measured as this one is, from its own files, and the clone is left as it was."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.against import LOADS, SIZES, NoRevision, checked_out, main, measure, table
from bench.figure import WrongResult
from bench.server import ROOT


def git(clone: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a test", "-c", "user.email=test@localhost", *arguments]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a file that has changed since the tag `old`."""
    git(tmp_path, "init", "--quiet")
    for text in ("old", "new"):
        (tmp_path / "file").write_text(text)
        git(tmp_path, "add", "file")
        git(tmp_path, "commit", "--quiet", "-m", text)
        git(tmp_path, "tag", text)
    return tmp_path


@pytest.mark.parametrize("name", LOADS)
def test_both_are_given_the_same_load_and_told_in_one_table(name: str) -> None:
    """Each has its turns, whose results were right, and a rate and the CPU of every part; a ratio stands below."""
    load = LOADS[name](SIZES["tiny"])

    turns = measure({"that": ROOT, "this": ROOT}, load, turns=2)

    assert [len(its) for its in turns.values()] == [2, 2]
    assert all(turn.rate > 0 and min(turn.cpu.values()) > 0 for its in turns.values() for turn in its)
    assert [line.split()[0] for line in table(turns).splitlines()] == ["items/s", "that", "this", "ratio"]


def test_a_revision_is_run_from_its_own_files(tmp_path: Path) -> None:
    """Of one whose squares are wrong there are no figures, and it is named."""
    for package in ("app", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    numbers = tmp_path / "workers/tasks/numbers.py"
    numbers.write_text(numbers.read_text().replace("return x * x", "return x + x"))

    with pytest.raises(WrongResult, match=r"^that: "):
        measure({"this": ROOT, "that": tmp_path}, LOADS["W2"](SIZES["tiny"]), turns=1)


def test_a_revision_is_checked_out_beside_the_clone_and_gone_afterwards(clone: Path) -> None:
    """Also when what was done with it was interrupted; git has forgotten it too, and no other worktree."""
    before = git(clone, "worktree", "list")
    trees = []

    def measured() -> None:
        with checked_out("old", clone) as tree:
            trees.append(tree)
            assert (tree / "file").read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured()

    assert [tree.exists() for tree in trees] == [False]
    assert git(clone, "worktree", "list") == before
    assert (clone / "file").read_text() == "new"


@pytest.mark.parametrize("name", ["nothing", "HEAD:file"])
def test_a_revision_that_is_none_is_refused(clone: Path, name: str) -> None:
    """Whatever names no commit; it is said which."""
    with pytest.raises(NoRevision, match=f"{name}: there is no such revision"), checked_out(name, clone):
        pass


def test_without_a_clone_there_are_no_revisions(tmp_path: Path, clone: Path) -> None:
    """Files that were unpacked have none, nor do such that lie in another project's clone."""
    (clone / "unpacked").mkdir()
    with pytest.raises(NoRevision, match="no clone"), checked_out("HEAD", clone / "unpacked"):
        pass


def test_what_cannot_be_compared_is_an_error_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and why: no such revision, no such workload."""
    for arguments, why in (
        (["nothing"], "bench.against: error: "),
        (["HEAD", "--quick", "W3"], "W3: there is no such"),
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert why in capsys.readouterr().err
