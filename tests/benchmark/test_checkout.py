"""What a benchmark finds out about the checkout that its code runs from."""

import subprocess
from pathlib import Path

import pytest

from deftrec.benchmark.machine import uncommitted_changes
from deftrec.run import git_revision


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "checkout" / "src" / "package"
    package.mkdir(parents=True)
    (package / "code.py").write_text("a = 1\n")
    git(tmp_path / "checkout", "init", "--quiet")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "--quiet", "-m", "first")
    return package


def test_a_clean_checkout_has_no_changes(package: Path) -> None:
    assert uncommitted_changes(package) is None
    (package.parents[1] / "notes.txt").write_text("no code")
    assert uncommitted_changes(package) is None, "an untracked file outside the code changes no result"


def test_changed_and_staged_files_are_in_the_diff(package: Path, tmp_path: Path) -> None:
    (package / "code.py").write_text("a = 2\n")
    (package / "more.py").write_text("b = 3\n")
    git(package, "add", "more.py")
    (package / "loose.py").write_text("c = 4\n")
    changes = uncommitted_changes(package)
    assert changes is not None
    assert {"-a = 1", "+a = 2", "+b = 3"} <= set(changes.diff.splitlines())
    assert changes.untracked == ("src/package/loose.py",)
    name = changes.write(tmp_path)
    assert changes.write(tmp_path) == name, "equal changes are stored once"
    git(package, "stash")
    git(package.parents[1], "apply", str(tmp_path / name))
    assert (package / "code.py").read_text() == "a = 2\n"


def test_untracked_code_is_a_change(package: Path) -> None:
    (package / "loose.py").write_text("c = 4\n")
    changes = uncommitted_changes(package)
    assert changes is not None
    assert (changes.diff, changes.untracked) == ("", ("src/package/loose.py",))


def test_outside_a_checkout_there_is_nothing_to_refuse(package: Path, tmp_path: Path) -> None:
    assert uncommitted_changes(tmp_path) is None
    (package.parents[1] / ".gitignore").write_text(".venv/\n")
    installed = package.parents[1] / ".venv" / "package"
    installed.mkdir(parents=True)
    assert uncommitted_changes(installed) is None, "the checkout of a project that installs the package says nothing"
    assert git_revision(installed) is None, "nor is its revision that of the package"


def test_the_revision_is_that_of_the_checkout_of_the_code(package: Path, tmp_path: Path) -> None:
    revision = git_revision(package)
    assert revision
    assert not revision.endswith("-dirty")
    (package / "code.py").write_text("a = 2\n")
    assert git_revision(package) == f"{revision}-dirty"
    assert git_revision(tmp_path) is None
