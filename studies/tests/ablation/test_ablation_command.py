"""`python -m studies.ablation` from data to report."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from studies.ablation.__main__ import main

from toy import ring, tiny_config


def test_it_trains_compares_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ring().save(tmp_path / "data")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny_config().model_dump(mode="json")))
    command = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "report")]
    command += ["--recipe", str(recipe), "--set", "training.epochs=1", "--variants", "pairwise,eps"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "deftrec/pairwise" in shown
    content = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [model["name"] for model in content["models"]] == ["deftrec", "deftrec/pairwise", "deftrec/eps"]
    assert "--variants pairwise,eps" in content["command"]
    assert (tmp_path / "report" / "report.html").is_file()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == content["models"]
    assert main([*command[:-1], "pairwize"]) == 1
    assert "did you mean 'deftrec/pairwise'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(command) == 0
    said = capsys.readouterr()
    assert 'no page: drawing the report needs matplotlib: pip install "deftrec[report]"' in said.err
    assert "deftrec/pairwise" in said.out
    assert "report: " not in said.out
