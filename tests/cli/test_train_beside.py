"""`deftrec train --beside RUN`: a reasoner beside a finished run."""

from pathlib import Path

from calling import TINY, Call

from deftrec import Interactions
from toy import tiny_model


def recipe(folder: Path) -> Path:
    llama = tiny_model("llama", folder / "llama", positions=256)
    file = folder / "reasoned.yaml"
    file.write_text(f"reasoner: {{model: {llama}, tuned_layers: 1, titles: 3, examples: 16, spoken: 0}}\n")
    return file


def test_a_reasoner_is_added_to_a_run(deftrec: Call, data: Path, tmp_path: Path) -> None:
    small, out = tmp_path / "small", tmp_path / "reasoned"
    assert deftrec("train", "--data", data, "--out", small, *TINY).code == 0
    said = deftrec("train", "--data", data, "--out", out, "--recipe", recipe(tmp_path), "--beside", small)
    assert said.code == 0, said.err
    assert "statements" in said.err
    assert "collaborative" not in said.err, "nothing else is trained"
    explained = deftrec("recommend", out, "--user", Interactions.load(data).users[0], "--explain")
    assert "This person likes" in explained.out


def test_what_it_cannot_do(deftrec: Call, data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    deftrec("train", "--data", data, "--out", small, *TINY)
    said = deftrec("train", "--data", data, "--out", tmp_path / "a", "--beside", small)
    assert said.code == 1
    assert "give --recipe deftrec" in said.err
    said = deftrec(
        "train", "--data", data, "--out", tmp_path / "b", "--recipe", recipe(tmp_path), "--beside", small, "--refit"
    )
    assert said.code == 1
    assert "leave --refit out" in said.err
