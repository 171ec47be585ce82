"""`deftrec speed`."""

import json
from pathlib import Path

import pytest
from calling import Call
from studies.speed import Rates, SpeedRow, SpeedTable

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


def test_the_table_and_its_file(deftrec: Call, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def measured(interactions: object, config: object, **options: object) -> SpeedTable:
        asked.update(options)
        return TABLE

    monkeypatch.setattr("studies.speed.measure_speed", measured)
    done = deftrec(
        "speed",
        "--data",
        data,
        "--recipe",
        "nano",
        "--users",
        "8",
        "--systems",
        "sasrec, tiger-like",
        "--out",
        tmp_path / "speed.json",
    )
    assert done.code == 0
    assert (asked["users"], asked["precision"]) == (8, "auto")
    assert asked["systems"] == ["sasrec", "tiger-like"]
    for words in ("8 users of 6 items read each", "90 GFLOP/s in fp32, 200 in bf16", "sasrec", "3.0 MFLOP", "50.0%"):
        assert words in done.out
    assert json.loads((tmp_path / "speed.json").read_text()) == json.loads(json.dumps(TABLE.to_json_dict()))
    done = deftrec("speed", "--data", data, "--recipe", "nano", "--json")
    assert json.loads(done.out)["rows"][1]["ratio"] == 0.5
