"""The peers in their own environments: `classic` is made by pip, once; the others are run where they lie already."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from circle import circle

from deftrec.benchmark.peers import PEERS, PeerRequest, _place, peers_folder, run_peer, run_peers
from deftrec.data.interactions import Interactions
from deftrec.data.split import Fit, Split, leave_one_out
from deftrec.evaluation.metrics import accuracy, ranks_from_scores
from deftrec.evaluation.rankings import read_rankings


def settings_of(out: Path, name: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((out / name / "settings.json").read_text())
    return settings


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return circle(users=60, items=23)


def test_the_classic_peers_in_their_own_environment(tmp_path: Path, interactions: Interactions) -> None:
    split = leave_one_out(interactions)
    models = [name for name, folder in PEERS.items() if folder == "classic"]
    results = {
        fit: dict(zip(models, run_peers(interactions, split, models, tmp_path / fit, fit), strict=True))
        for fit in ("train", "train+validation")
    }
    for fit, of_fit in results.items():
        for name, result in of_fit.items():
            assert (result.name, result.fit, result.split, result.seen) == (name, fit, "test", "exclude")
            assert result.users == 60
            assert result.dataset == "circle"
            assert sorted(path.name for path in (tmp_path / fit / name).iterdir()) == [
                f"rankings-{fit}-exclude.parquet",
                "result.json",
                "settings.json",
            ]
            assert json.loads((tmp_path / fit / name / "result.json").read_text()) == result.to_json_dict()
    # A circle is easy for whoever looks at neighbours, easier still for whoever looks at the newest item.
    train = {name: result.metrics["ndcg@10"] for name, result in results["train"].items()}
    assert train["item-knn"] > train["popularity"] + 0.1
    assert train["item-knn-recency"] >= train["item-knn"]
    assert train["ease-recency"] > 0.8

    settings = settings_of(tmp_path / "train", "ease-recency")
    assert len(settings["validation"]) == 12
    best = max(settings["validation"], key=lambda tried: tried["ndcg@10"])
    assert settings["settings"] == {key: value for key, value in best.items() if key != "ndcg@10"}
    assert not settings["cut"]
    assert {tried["power"] for tried in settings_of(tmp_path / "train", "ease")["validation"]} == {0.0}
    # The refit takes the settings that were chosen on train.
    assert settings_of(tmp_path / "train+validation", "ease-recency")["settings"] == settings["settings"]
    for fit in ("train", "train+validation"):
        check_popularity(interactions, split, fit, tmp_path / fit / "popularity" / f"rankings-{fit}-exclude.parquet")
    ease = tmp_path / "train" / "ease-recency" / "rankings-train-exclude.parquet"
    check_ease(interactions, split, settings["settings"], ease)


def check_popularity(interactions: Interactions, split: Split, fit: Fit, file: Path) -> None:
    """Popularity is known exactly: counts of the fit, history excluded."""
    cases = split.cases("test")
    counts = np.bincount(split.training(fit).items, minlength=interactions.n_items)
    scores = torch.from_numpy(np.repeat(counts[None].astype(np.float64), len(cases), 0))
    compare(scores, interactions, split, file)


def check_ease(interactions: Interactions, split: Split, settings: dict[str, float], file: Path) -> None:
    """EASE as its paper writes it, with an explicit inverse and histories weighted one by one."""
    training, cases, n = split.training("train"), split.cases("test"), interactions.n_items
    taken = np.zeros((interactions.n_users, n))
    taken[training.owners(), training.items] = 1
    inverse = np.linalg.inv(taken.T @ taken + settings["penalty"] * np.eye(n))
    weights = np.eye(n) - inverse / np.diag(inverse)[None, :]
    inputs = np.zeros((len(cases), n))
    for row, history in enumerate(cases.histories):
        for age, item in enumerate(history[::-1]):
            inputs[row, item] = max(inputs[row, item], (1 + age) ** -settings["power"])
    compare(torch.from_numpy(inputs @ weights), interactions, split, file, places=1e-5)


def compare(scores: torch.Tensor, interactions: Interactions, split: Split, file: Path, places: float = 1e-12) -> None:
    cases = split.cases("test")
    scores[torch.from_numpy(cases.histories.owners()), torch.from_numpy(cases.histories.items).long()] = -torch.inf
    read = read_rankings(file, interactions, cases, "exclude")
    assert (read.users_missing, read.seen_removed) == (0, 0)
    expected = accuracy(ranks_from_scores(scores, torch.from_numpy(cases.targets)))
    ours = accuracy(read.ranks)
    assert float(ours["ndcg@10"].mean()) == pytest.approx(float(expected["ndcg@10"].mean()), abs=places)
    assert float(ours["mrr@100"].mean()) == pytest.approx(float(expected["mrr@100"].mean()), abs=places)


def test_one_tuning_serves_every_fit_and_table(tmp_path: Path, interactions: Interactions) -> None:
    split = leave_one_out(interactions)
    request = PeerRequest(["train", "train+validation"], ["exclude", "keep"], seed=3, budget_seconds=0.0)
    run = run_peer(interactions, split, "ease-recency", tmp_path, request)
    assert sorted(path.name for path in (tmp_path / "ease-recency").iterdir()) == [
        "rankings-train+validation-exclude.parquet",
        "rankings-train+validation-keep.parquet",
        "rankings-train-exclude.parquet",
        "rankings-train-keep.parquet",
        "settings.json",
    ]
    assert (run.name, run.seed, run.parameters, run.library) == ("ease-recency", 3, 23 * 23, run.settings["library"])
    assert run.library.startswith("numpy 2")
    # Without time the first setting is taken: it is trained all the same.
    assert (run.settings["cut"], len(run.settings["validation"]), run.settings["epochs"]) == (True, 1, None)
    seconds = run.settings["seconds"]
    assert run.train_seconds == {"train": seconds["tune"], "train+validation": seconds["tune"] + seconds["refit"]}
    assert 0 < seconds["fit"] <= seconds["tune"]
    assert run.users_per_second == run.settings["users_ranked_per_second"] > 0
    cases = split.cases("test")
    for one in run.lists:
        read = read_rankings(tmp_path / one.file, interactions, cases, one.seen)
        assert read.users_missing == read.seen_removed == 0
        assert (read.top_items[:, :8] >= 0).all()
    kept = read_rankings(tmp_path / str(run.file("train", "keep")), interactions, cases, "keep")
    before = [
        set(history.tolist()) & set(top[:10].tolist())
        for history, top in zip(cases.histories, kept.top_items, strict=True)
    ]
    assert any(before)


def test_the_history_comes_first_newest_first_where_it_may(tmp_path: Path, interactions: Interactions) -> None:
    split = leave_one_out(interactions)
    run = run_peer(interactions, split, "repeat-history", tmp_path, PeerRequest(seens=["keep"]))
    cases = split.cases("test")
    top = read_rankings(tmp_path / str(run.file("train", "keep")), interactions, cases, "keep").top_items
    assert run.settings["tuned_on"] == "keep"
    for history, items in zip(cases.histories, top, strict=True):
        distinct = list(dict.fromkeys(history[::-1].tolist()))
        assert set(items[: len(distinct)].tolist()) == set(distinct)
        if len(distinct) == len(history) and run.settings["settings"]["power"] > 0:
            assert items[: len(distinct)].tolist() == distinct


@pytest.mark.parametrize("name", ["als", "bpr", "sasrec", "tiger"])
def test_a_heavy_family_where_its_environment_lies_already(tmp_path: Path, name: str) -> None:
    requirements = peers_folder() / PEERS[name] / "requirements.txt"
    if not _place(requirements, None).exists():
        pytest.skip(f"no environment for {PEERS[name]} here; `deftrec benchmark` makes one, of gigabytes")
    data = circle(users=262, items=262)  # codebooks need 256 items
    split = leave_one_out(data)
    run = run_peer(data, split, name, tmp_path, PeerRequest(["train", "train+validation"], budget_seconds=0.05))
    cases = split.cases("test")
    for one in run.lists:
        read = read_rankings(tmp_path / one.file, data, cases, one.seen)
        assert read.users_missing == read.seen_removed == 0
    assert run.parameters is not None
    assert run.parameters > 262
    assert run.settings["cut"]
