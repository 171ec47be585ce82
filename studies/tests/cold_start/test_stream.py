"""The replay in time: nothing of the future is known, and every policy does what it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from studies import stream
from titled_ring import titled_ring

from deftrec.errors import ConfigError
from toy import tiny_bert

SETTINGS = """
collaborative: {{dim: 16, epochs: 5, batch_size: 128}}
text: {{model: {bert}}}
tokenizer: {{hidden: 32, dropout: 0.0, drop_collaborative: 0.5, trainable_features: false, users: none}}
language: {{kind: nano, width: 32, layers: 1, dropout: 0.0}}
diffusion: {{width: 32, depth: 1}}
training: {{learning_rate: 0.01, batch_positions: 256, epochs: 8, average: 0.0, precision: fp32, ensemble_size: 1}}
retrieval: {{prior: none}}
"""


def test_what_is_known_when() -> None:
    whole = titled_ring(users=50)
    replay = stream.Stream(whole, 0.5, 4)
    times = whole.times
    for step in range(4):
        cut, end = int(replay.cuts[step]), int(replay.cuts[step + 1])
        known = replay.until(cut, announced=end)
        assert known.n_interactions == cut
        assert known.times.max() <= np.sort(times)[cut]
        cases = replay.questions(step)
        assert len(cases)
        for user, history, target in zip(cases.users, cases.histories, cases.targets, strict=True):
            assert known.history(whole.users[int(user)]) == whole.item_ids(history)
            assert whole.sequences[user][len(history)] == target
            assert whole.catalogue["item"][int(target)] in known.catalogue["item"]
    assert replay.until(whole.n_interactions).events().equals(whole.events())


def test_a_replay_of_toy_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS.format(bert=tiny_bert(tmp_path / "bert")))
    titled_ring(users=120).save(tmp_path / "data")
    out = tmp_path / "result.json"
    words = ["--data", str(tmp_path / "data"), "--out", str(out), "--recipe", str(tmp_path / "tiny.yaml")]
    stream.main([*words, "--steps", "2"])
    rows = json.loads(out.read_text())["rows"]
    assert [(row["step"], row["policy"]) for row in rows] == [(n, name) for n in (1, 2) for name in stream.POLICIES]
    by = {(row["step"], row["policy"]): row for row in rows}
    assert by[1, "retrain"]["ndcg10"] == by[1, "fine-tune"]["ndcg10"] == by[1, "update"]["ndcg10"]
    assert by[2, "update"]["ndcg10"] > by[2, "keep"]["ndcg10"], "who forgets where people are in the ring is lost"
    assert len({by[2, name]["ndcg10"] for name in stream.POLICIES}) == 4
    [tuned] = out.with_suffix(".work").glob("fine-tune-1-*")
    assert json.loads((tuned / "run.json").read_text())["start"] is not None
    assert "retrain" in capsys.readouterr().out
    # Again: nothing is measured a second time, and the result is the same.
    stream.main([*words, "--steps", "2"])
    assert "step 1" not in capsys.readouterr().out
    assert json.loads(out.read_text())["rows"] == rows


def test_times_that_only_order_a_history_are_refused(tmp_path: Path) -> None:
    data = titled_ring(users=20)
    replace(data, meta=data.meta.model_copy(update={"times": "position"})).save(tmp_path / "data")
    with pytest.raises(ConfigError, match="a replay needs those of all; take data with times"):
        stream.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "result.json")])
