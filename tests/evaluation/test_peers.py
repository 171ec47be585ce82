"""Peers see exactly the training interactions, and what they hand back is evaluated as our own rankings are."""

import ast
import json
import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from deftrec.data.interactions import Interactions, Meta
from deftrec.data.split import Fit, Split, SplitName, leave_one_out, make_split
from deftrec.errors import ConfigError, DataError, DeftRecError
from deftrec.evaluation import environments, peers
from deftrec.evaluation.metrics import accuracy, ranks_from_scores
from deftrec.evaluation.peers import PEERS, export_split, peer_settings, peers_folder, run_peers
from deftrec.evaluation.rankings import read_rankings


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    """Everybody walks a circle of 23 items from a place of their own, and now and then jumps."""
    rng = np.random.default_rng(0)
    jumps = rng.integers(0, 23, (60, 9)) * (rng.random((60, 9)) < 0.15)
    rows = [
        {"user": f"u{user}", "item": f"i{(user + step + jumps[user, step]) % 23}", "time": 100 * step + user}
        for user in range(60)
        for step in range(4 + user % 5)
    ]
    return Interactions.from_frame(pl.DataFrame(rows), meta=Meta(name="circle"))


def exported_rows(folder: Path, split: Split) -> set[tuple[str, int, int]]:
    """Every (file, user, place in the user's sequence) that was handed out; checks that the items are right."""
    rows = set()
    for file in folder.glob("*.parquet"):
        frame = pl.read_parquet(file)
        if "position" in frame.columns:
            for user, item, position in frame.select("user", "item", "position").iter_rows():
                assert split.sequences[user][position] == item
                rows.add((file.stem, user, position))
    return rows


@pytest.mark.parametrize("name", ["leave-one-out", "temporal"])
@pytest.mark.parametrize("fit", ["train", "train+validation"])
def test_a_peer_gets_the_training_part_and_never_a_test_target(
    tmp_path: Path, interactions: Interactions, name: SplitName, fit: Fit
) -> None:
    split = make_split(interactions, name)
    export_split(interactions, split, tmp_path / "inputs", fits=["train", fit], parts=["test"], seens=["exclude"])
    rows = exported_rows(tmp_path / "inputs", split)
    for file, ends in (("train", split.train_end), ("refit", split.refit_end)):
        expected = {(file, user, place) for user in range(60) for place in range(ends[user])}
        handed = {row for row in rows if row[0] == file}
        assert handed == (expected if file == "train" or fit == "train+validation" else set())
    asked = split.cases("test")
    assert len(asked) > 10
    for user in asked.users:
        assert max(place for _, owner, place in rows if owner == user) < split.test[user]
    targets = pl.read_parquet(tmp_path / "inputs" / "validation-targets.parquet")
    assert targets["target"].to_list() == split.cases("validation").targets.tolist()
    assert not list((tmp_path / "inputs").glob("test-targets*"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"models": ["popularity", "eaze"]},
            ConfigError,
            "no peer is called 'eaze'; there are popularity, repeat-history, ",
        ),
        ({"part": "validation", "fit": "train+validation"}, ConfigError, "has seen the validation targets"),
    ],
)
def test_wrong_requests_are_refused_before_anything_runs(
    tmp_path: Path, interactions: Interactions, change: dict[str, object], error: type[Exception], message: str
) -> None:
    request: dict[str, object] = {"models": ["popularity"], "out_dir": tmp_path / "out", "fit": "train"}
    with pytest.raises(error, match=message):
        run_peers(interactions, leave_one_out(interactions), **(request | change))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_without_validation_targets_nothing_can_be_tuned(tmp_path: Path) -> None:
    short = Interactions.from_frame(pl.DataFrame({"user": [1, 1, 2], "item": [1, 2, 1], "time": [1, 2, 3]}))
    with pytest.raises(DataError, match="no user has a validation target"):
        run_peers(short, leave_one_out(short), ["popularity"], tmp_path)


def own_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Let the peer be `script`, run by this very interpreter."""
    folder = tmp_path / "peers"
    (folder / "classic").mkdir(parents=True)
    (folder / "classic" / "run.py").write_text(script)
    monkeypatch.setattr(peers, "peers_folder", lambda: folder)
    monkeypatch.setattr(peers, "environment_python", lambda requirements: Path(sys.executable))


def test_a_peer_that_fails_is_reported_in_one_line_and_leaves_nothing(
    tmp_path: Path, interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_python(monkeypatch, tmp_path, "raise SystemExit('no memory for 5 x 5')")
    with pytest.raises(DeftRecError, match=r"^the peer 'ease' failed with exit code 1: no memory for 5 x 5$"):
        run_peers(interactions, leave_one_out(interactions), ["ease"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_peers_own_seen_items_do_not_pass(
    tmp_path: Path, interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that ranks the history first gains nothing by it under `exclude`."""
    own_python(
        monkeypatch,
        tmp_path,
        """
import sys
from pathlib import Path
import polars as pl
inputs, outputs = Path(sys.argv[2]), Path(sys.argv[4])
histories = pl.read_parquet(inputs / "test-histories.parquet").unique(["user", "item"])
rows = histories.select("user", "item", pl.lit(1).alias("rank"), pl.lit(1.0).alias("score"))
rows.write_parquet(outputs / "rankings-test-train-exclude.parquet")
(outputs / "settings.json").write_text(
    '{"seconds": {"tune": 1.0, "fit": 1.0, "refit": 0.0, "rank": 1.0}, "parameters": null, "library": "none 1.0",'
    '"users_ranked_per_second": 60.0}'
)
""",
    )
    said: list[str] = []
    [result] = run_peers(interactions, leave_one_out(interactions), ["ease"], tmp_path / "out", on_progress=said.append)
    assert result.metrics["hr@50"] == result.metrics["coverage@50"] == 0
    assert said == ["ease: preparing its environment"]


def test_the_folder_of_a_checkout_and_of_a_wheel_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (peers_folder() / "classic" / "run.py").is_file()
    assert {
        folder for folder in PEERS.values() if not (peers_folder() / folder / "requirements.txt").is_file()
    } == set()
    module = tmp_path / "site-packages" / "deftrec" / "evaluation" / "peers.py"
    monkeypatch.setattr(peers, "__file__", str(module))
    with pytest.raises(DeftRecError, match="the peers are neither in"):
        peers_folder()
    (tmp_path / "site-packages" / "deftrec" / "peers").mkdir(parents=True)
    assert peers_folder() == tmp_path / "site-packages" / "deftrec" / "peers"


def test_pip_without_a_registry_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(DeftRecError, match=r"pip could not install .*numpy==2.4.6.*; it needs a package registry once"):
        environments.environment_python(tmp_path / "requirements.txt", home=tmp_path / "home")
    assert list((tmp_path / "home" / "environments").iterdir()) == []


def test_an_environment_is_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(place: Path, requirements: Path) -> None:
        made.append(place)
        assert not place.exists()
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(environments, "_make", make)
    requirements = tmp_path / "family" / "requirements.txt"
    requirements.parent.mkdir()
    requirements.write_text("numpy==2.4.6\n")
    first = environments.environment_python(requirements, home=tmp_path)
    assert environments.environment_python(requirements, home=tmp_path) == first
    requirements.write_text("numpy==2.4.5\n")
    other = environments.environment_python(requirements, home=tmp_path)
    assert other != first
    assert len(made) == 2
    assert made[0].name.startswith("family-")
    other.unlink()
    other.symlink_to(tmp_path / "a Python that is gone")
    assert environments.environment_python(requirements, home=tmp_path) == other
    assert made[2] == made[1]


def test_a_race_for_an_environment_has_one_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "environments" / "family-0"
    (tmp_path / "requirements.txt").write_text("")

    def slow(building: Path, **options: object) -> None:
        place.mkdir()  # somebody else was faster
        (place / "theirs").touch()

    monkeypatch.setattr(environments.venv, "create", slow)
    done = types.SimpleNamespace(returncode=0)
    monkeypatch.setattr(environments.subprocess, "run", lambda *arguments, **options: done)
    environments._make(place, tmp_path / "requirements.txt")
    assert [file.name for file in place.iterdir()] == ["theirs"]
    assert [folder.name for folder in place.parent.iterdir()] == ["family-0"]


# -- the real thing: pip installs the pinned environment once into the cache ---------------------------------------


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

    settings = peer_settings(tmp_path / "train", "ease-recency")
    assert len(settings["validation"]) == 12
    best = max(settings["validation"], key=lambda tried: tried["ndcg@10"])
    assert settings["settings"] == {key: value for key, value in best.items() if key != "ndcg@10"}
    assert not settings["cut"]
    assert {tried["power"] for tried in peer_settings(tmp_path / "train", "ease")["validation"]} == {0.0}
    # The refit takes the settings that were chosen on train.
    assert peer_settings(tmp_path / "train+validation", "ease-recency")["settings"] == settings["settings"]
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
    assert float(ours["mrr"].mean()) == pytest.approx(float(expected["mrr"].mean()), abs=places)


SHARED = {"exchange", "tuning"}


@pytest.mark.parametrize("family", sorted(set(PEERS.values())))
def test_a_family_imports_only_the_standard_library_and_what_is_pinned(family: str) -> None:
    folder = peers_folder() / family
    pins = [line.split("==") for line in (folder / "requirements.txt").read_text().split()]
    assert all(len(pin) == 2 for pin in pins)
    trees = [ast.parse(file.read_text()) for file in (*folder.glob("*.py"), *folder.parent.glob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    own = SHARED | {file.stem for file in folder.glob("*.py")}
    foreign = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) - own
    assert foreign <= {name.replace("-", "_") for name, _ in pins}
