"""A result is computed once for its key, by one process of several, and an interrupted run folder is kept."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from studies.results_cache import ResultKey, ResultsCache

from deftrec.errors import DeftRecError
from deftrec.training.cache import StageResult
from toy import tiny_config

KEY = ResultKey.of("study", "data", tiny_config(), variant="one")


def test_a_result_is_computed_once(tmp_path: Path) -> None:
    calls = []

    def measure(folder: Path) -> StageResult:
        calls.append(folder)
        folder.mkdir()
        return StageResult({"values": torch.arange(3)}, {"seconds of it": 1.5})

    for _ in range(2):
        found = ResultsCache(tmp_path).get(KEY, measure)
        assert found.tensors["values"].tolist() == [0, 1, 2]
        assert found.about == {"seconds of it": 1.5}
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file() or path.suffix == ".run"] == []


@pytest.mark.parametrize(
    "other",
    [
        {"study": "another"},
        {"fingerprint": "other data"},
        {"config": {**KEY.config, "seed": 1}},
        {"seed": 1},
        {"revision": "a later one"},
        {"other": {"variant": "two"}},
        {"machine": {"cpu": "faster"}},
    ],
)
def test_everything_that_decides_a_result_is_in_its_key(other: dict[str, object], tmp_path: Path) -> None:
    cache = ResultsCache(tmp_path)
    cache.get(KEY, lambda _: StageResult({}, {"value": 1}))
    changed = replace(KEY, **other)
    assert changed.digest != KEY.digest
    assert cache.get(changed, lambda _: StageResult({}, {"value": 2})).about == {"value": 2}
    assert cache.get(KEY, lambda _: StageResult({}, {"value": 3})).about == {"value": 1}


def test_an_interrupted_measurement_keeps_its_run_folder(tmp_path: Path) -> None:
    def stop(folder: Path) -> StageResult:
        folder.mkdir()
        (folder / "begun").touch()
        raise KeyboardInterrupt

    def go_on(folder: Path) -> StageResult:
        return StageResult({}, {"begun": (folder / "begun").is_file()})

    cache = ResultsCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.get(KEY, stop)
    assert cache.get(KEY, go_on).about == {"begun": True}


def test_two_at_once_compute_one_result(tmp_path: Path) -> None:
    begun, calls, found = threading.Event(), [], []

    def measure(folder: Path) -> StageResult:
        begun.set()
        calls.append(folder)
        folder.mkdir()
        return StageResult({}, {"number": len(calls)})

    def ask() -> None:
        found.append(ResultsCache(tmp_path).get(KEY, measure).about)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"number": 1}] * 4


def test_damage_is_named(tmp_path: Path) -> None:
    ResultsCache(tmp_path).get(KEY, lambda _: StageResult({}, {}))
    for about in tmp_path.glob("*/about.json"):
        about.write_text("{")
    with pytest.raises(DeftRecError, match="damaged; delete it"):
        ResultsCache(tmp_path).get(KEY, lambda _: StageResult({}, {}))
