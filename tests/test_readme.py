"""Every command block and every Python block of the README, the docs and the studies runs."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preloaded import serve

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "studies" / "README.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), STUDIES]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block that can be run; `make test` would run these tests again."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for language, text in found if not text.startswith("make ")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment in which `deftrec` and `python` are this interpreter's, installed or not.

    Downloads are kept between pages, and `studies` is importable as in a clone.
    """
    folder = tmp_path_factory.mktemp("bin")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    server = serve(folder)
    yield {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "DEFTREC_HOME": str(tmp_path_factory.mktemp("home")),
        "OMP_NUM_THREADS": "1",
        "GIT_CEILING_DIRECTORIES": str(ROOT),  # a benchmark refuses a checkout with uncommitted changes
    }
    server.terminate()
    server.wait()


@pytest.mark.timeout(900)  # a page trains several models and makes an environment, each block within its own limit
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=[pytest.mark.slow] if page == STUDIES else [])
        for page in PAGES
        if blocks(page)
    ],
)
def test_every_block_runs(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    shell = shutil.which("bash")
    assert shell is not None
    for language, text in blocks(page):
        command = [shell, "-eu", "-o", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"
    if page == ROOT / "README.md":
        assert (tmp_path / "runs" / "nano" / "report" / "index.html").is_file()
        assert (tmp_path / "result.json").is_file()


def test_the_readme_names_every_verb() -> None:
    from deftrec.cli import app

    words = " ".join(text for language, text in blocks(ROOT / "README.md") if language == "bash")
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert verbs - {"demo"} <= set(words.split())


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
