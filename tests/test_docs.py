"""Every relative link and every anchor of the pages resolves, and every page can be reached from the README."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "benchmarks" / "peers" / "README.md",
    ROOT / "studies" / "README.md",
]
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """Targets of a page's links, those in code left out; a link's text may be code."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return LINK.findall(INLINE_CODE.sub("code", text))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, made as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while (anchor if not number else f"{anchor}-{number}") in found:
            number += 1
        found.add(anchor if not number else f"{anchor}-{number}")
    return found


def target_of(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return ((page.parent / path).resolve() if path else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_resolves(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, anchor = target_of(page, link)
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = (target_of(page, link)[0] for link in links(page) if not re.match(r"[a-z]+:", link))
        left += [target for target in targets if target.suffix == ".md" and target.exists()]
    assert not {name_of(page) for page in set(PAGES) - reached}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_one_title(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_named_test_and_script_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sources = [path for folder in ("tests", "studies/tests") for path in (ROOT / folder).rglob("test_*.py")]
    files = {path.name for path in sources}
    functions = {name for path in sources for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))}
    assert set(re.findall(r"\btest_\w+\.py\b", text)) <= files
    assert set(re.findall(r"`(test_\w+)`", text)) <= functions
    modules = [ROOT / "studies" / name for name in re.findall(r"python -m studies\.(\w+)", text)]
    assert not [path for path in modules if not (path.is_dir() or path.with_suffix(".py").is_file())]
    scripts = re.findall(r"python (?:\n)?(\w+/\w+\.py)", text)
    assert not [script for script in scripts if not (ROOT / script).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_blocks_are_well_formed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shell = shutil.which("bash")
    assert shell is not None
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            ast.parse(block)
        else:
            checked = subprocess.run([shell, "-n", "-c", block], capture_output=True, text=True, timeout=20)
            assert checked.returncode == 0, checked.stderr


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# On a GPU\n## `seen: keep`, twice?\n## A b\n## A b\n```\n# code\n```\n", encoding="utf-8")
    assert anchors(page) == {"on-a-gpu", "seen-keep-twice", "a-b", "a-b-1"}


def test_every_test_that_the_table_of_faults_names_is_there() -> None:
    path, named = Path(), 0
    for file, name in re.findall(
        r"`([\w/]*(?:\.py)?)::(\w+)`", (ROOT / "docs/development/faults.md").read_text("utf-8")
    ):
        path = ROOT / file if file else path  # `::name` alone is of the file before
        assert re.search(rf"^def {name}\(", path.read_text("utf-8"), re.MULTILINE), f"{path}::{name}"
        named += 1
    assert named > 100
