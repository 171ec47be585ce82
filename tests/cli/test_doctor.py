"""`deftrec doctor` on the command line."""

import json
from pathlib import Path

import pytest
from calling import Call

from deftrec.cli.doctor import flops


def test_a_recipe(deftrec: Call) -> None:
    said = deftrec("doctor", "llama-3.2-1b", "--items", 100_000)
    assert said.code == 0, said.err
    assert "1,235,814,400" in said.out
    assert "llama-3.2-1b: 100,000 items, 1 member" in said.out
    for heading in ("parameters", "memory for training", "memory for serving", "work for one user", "note:"):
        assert heading in said.out
    assert "activations (estimate)" in said.out
    assert "warning" not in said.err


def test_a_run_as_json(deftrec: Call, run: Path) -> None:
    said = deftrec("doctor", run, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    trained = json.loads((run / "run.json").read_text())
    assert found["total_parameters"] == trained["parameters"]
    assert found["language_model"] == "nano"
    more = json.loads(deftrec("doctor", run, "--json", "--items", 5000).out)
    assert more["items"] == 5000
    assert more["flops_per_user"]["scoring"] > found["flops_per_user"]["scoring"]


def test_options_of_a_recipe(deftrec: Call, data: Path) -> None:
    words = ["doctor", "nano", "--data", data, "--json"]
    found = json.loads(deftrec(*words).out)
    assert found["items"] == 24
    wider = json.loads(deftrec(*words, "--set", "language.width=128").out)
    assert wider["parameters"]["language model"] > found["parameters"]["language model"]
    assert deftrec("doctor", "nano", "--set", "language.wide=128").code == 1


@pytest.mark.parametrize(
    ("count", "said"),
    [(650, "0.7 kFLOP"), (65_536, "65.5 kFLOP"), (2_300_000, "2.3 MFLOP"), (75_447_435_264, "75.4 GFLOP")],
)
def test_flops_in_the_unit_that_suits(count: int, said: str) -> None:
    assert flops(count) == said
    assert flops(3 * 10**12) == "3.0 TFLOP"
