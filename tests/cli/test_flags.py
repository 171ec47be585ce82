"""The library names options as Python has them, and the command line as flags."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import deftrec
from deftrec.cli.flags import with_flags

PACKAGE = Path(deftrec.__file__).parent
FLAG = re.compile(r"(?:^|[\s('])--[a-z]")
COMMANDS_OF_OTHERS = ("pip install", "accelerate launch")
IMPORT = ("data/sources/", "data/prepare.py")  # `deftrec data import`, which Python has no other word for


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("go on with `resume=True`, or `overwrite=True`", "go on with --resume, or --overwrite"),
        ("give `out=DIR`, or `api_keys=FILE`", "give --out DIR, or --api-keys FILE"),
        ("without `start=...`", "without --from"),
        ("use `training.precision=auto`", "use --set training.precision=auto"),
        ("`overrides='seed'`: write key=value", "--set 'seed': write key=value"),
        ("https://host/?a=b: `x` is no a=b", "https://host/?a=b: `x` is no a=b"),
    ],
)
def test_options_become_flags(message: str, said: str) -> None:
    assert with_flags(message) == said


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a file that is no docstring, whole where it is made of parts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in bare | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            texts = (str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield node.lineno, "".join(texts)


def test_no_error_of_the_library_names_a_flag() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in sentences(path)
        if not str(path.relative_to(PACKAGE)).startswith(("cli/", *IMPORT))
        and " " in text
        and FLAG.search(text)
        and not any(command in text for command in COMMANDS_OF_OTHERS)
    ]
    assert not wrong, "\n".join(wrong)
