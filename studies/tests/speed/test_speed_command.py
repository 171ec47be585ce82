"""The command `python -m studies.speed`."""

import json
from pathlib import Path

import pytest
from benchmarks.machine_rates import Rates
from studies.speed import SpeedRow, SpeedTable
from studies.speed.__main__ import main

from toy import ring

ROWS = (
    SpeedRow("deftrec", "one step", 200.0, 5.0, 1.0, 1.0, 3e6, 0.5),
    SpeedRow("sasrec", "a small one", 400.0, 2.0, 0.5, 0.4, 1e6, 0.25),
)
TABLE = SpeedTable("ring", 24, 8, 6.0, "nano, width 64", "bf16", Rates(9e10, 2e11, 3e10), {"cpu": "some"}, ROWS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    ring(users=20).save(tmp_path / "data")
    return tmp_path / "data"


def test_the_table_and_its_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {}

    def measured(interactions: object, config: object, **options: object) -> SpeedTable:
        asked.update(options)
        return TABLE

    monkeypatch.setattr("studies.speed.measure_speed", measured)
    words = ["--data", str(data), "--recipe", "default", "--users", "8", "--systems", "sasrec, tiger-like"]
    assert main([*words, "--out", str(tmp_path / "speed.json")]) == 0
    assert (asked["users"], asked["precision"]) == (8, "auto")
    assert asked["systems"] == ["sasrec", "tiger-like"]
    shown = capsys.readouterr().out
    for part in ("8 users of 6 items read each", "90 GFLOP/s in fp32, 200 in bf16", "sasrec", "3.0 MFLOP", "50.0%"):
        assert part in shown
    assert json.loads((tmp_path / "speed.json").read_text()) == json.loads(json.dumps(TABLE.to_json_dict()))
    assert main(["--data", str(data), "--recipe", "default", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][1]["ratio"] == 0.5
    assert main(["--data", str(data), "--users", "0"]) == 2
    assert "python -m studies.speed --help" in capsys.readouterr().err
    assert main(["--data", str(data), "--recipe", "nothing"]) == 1
    assert "no recipe 'nothing'" in capsys.readouterr().err
