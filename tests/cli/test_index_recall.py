"""`benchmarks/index_recall.py`: every index against exact search."""

import json
from pathlib import Path

import numpy as np
import pytest

import index_recall
from index_recall import drawn_around

pytest.importorskip("faiss", reason='FAISS: pip install "deftrec[faiss]"')


def test_every_index_is_measured_beside_the_exact_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index_recall.main([str(run), "--items", "500", "--users", "20", "--json"])
    exact, hnsw, compressed = json.loads(capsys.readouterr().out)
    assert [one["index"] for one in (exact, hnsw, compressed)] == ["exact", "faiss", "faiss-ivfpq"]
    assert {one["items"] for one in (exact, hnsw, compressed)} == {500}
    assert exact["recall"] == 1
    assert 0.9 <= hnsw["recall"] <= 1
    assert 0.1 < compressed["recall"] <= 1
    assert min(exact["query"], hnsw["query"], hnsw["built"]) > 0


def test_it_is_a_table_for_people(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index_recall.main([str(run), "--users", "5"])
    out = capsys.readouterr().out
    assert out.startswith("24 items")
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("  exact", "  faiss"))] == [
        *("exact", "faiss", "faiss-ivfpq")
    ]


@pytest.mark.parametrize("unit", [True, False])
def test_drawn_latents_lie_around_those_that_are_there(unit: bool) -> None:
    centres = np.eye(4, dtype=np.float32)[:3]
    drawn = drawn_around(centres, 200, unit)
    assert (drawn.shape, drawn.dtype) == ((200, 4), np.float32)
    nearest = np.linalg.norm(drawn[:, None] - centres, axis=-1).min(1)
    assert 0 < nearest.max() < 0.5
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-6) == unit
