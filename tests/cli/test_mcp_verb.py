"""Starts of `deftrec mcp` that are refused; `tests/serving/test_mcp.py` calls its tools."""

import sys
from pathlib import Path

import pytest
from calling import Call


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--transport", "http", "--host", "0.0.0.0"], "give --api-keys FILE"),
        (["--transport", "http", "--keys", "{tmp}/absent.json"], "make one with 'deftrec api-key'"),
        (["--api-keys", "{tmp}/keys.json"], "--api-keys guards --transport http"),
    ],
)
def test_a_wrong_start_is_one_line(deftrec: Call, run: Path, tmp_path: Path, words: list[str], message: str) -> None:
    said = deftrec("mcp", run, *(word.format(tmp=tmp_path) for word in words))
    assert (said.code, said.out) == (1, "")
    assert message in said.err.splitlines()[-1]


def test_without_the_extra_it_says_which(deftrec: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    said = deftrec("mcp", run)
    assert (said.code, said.err) == (1, 'error: deftrec mcp needs mcp: pip install "deftrec[mcp]"\n')
