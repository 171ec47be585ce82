"""Peers see exactly the training interactions, and what they hand back is evaluated as our own rankings are."""

import ast
import json
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from circle import circle

from deftrec.benchmark import peers
from deftrec.benchmark.peers import PEERS, PeerRequest, export_split, peers_folder, run_peer, run_peers
from deftrec.data.interactions import Interactions
from deftrec.data.split import Fit, Split, SplitName, leave_one_out, make_split
from deftrec.errors import ConfigError, DataError, DeftRecError


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return circle(users=60, items=23)


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
    export_split(interactions, split, tmp_path / "inputs", PeerRequest(["train", fit]))
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


def test_wrong_requests_are_refused_before_anything_runs(tmp_path: Path, interactions: Interactions) -> None:
    with pytest.raises(ConfigError, match="no peer is called 'eaze'; there are popularity, repeat-history, "):
        run_peers(interactions, leave_one_out(interactions), ["popularity", "eaze"], tmp_path / "out")
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


def test_a_peer_ends_with_whoever_listens(
    tmp_path: Path, interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_python(monkeypatch, tmp_path, "import time; print('tuning', flush=True); time.sleep(60)")

    def interrupt(line: str) -> None:
        if line == "ease: tuning":
            raise RuntimeError("nobody listens")

    started = time.monotonic()
    with pytest.raises(RuntimeError, match="nobody listens"):
        run_peers(interactions, leave_one_out(interactions), ["ease"], tmp_path / "out", on_progress=interrupt)
    assert time.monotonic() - started < 30
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


def test_text_of_the_items_and_the_request_are_handed_out(tmp_path: Path, interactions: Interactions) -> None:
    split = leave_one_out(interactions)
    export_split(interactions, split, tmp_path / "inputs", PeerRequest(["train"], ["keep"], 7, 2.5, 3))
    assert json.loads((tmp_path / "inputs" / "meta.json").read_text()) == {
        "users": 60,
        "items": 23,
        "fits": ["train"],
        "seen": ["keep"],
        "parts": ["test"],
        "depth": 100,
        "seed": 7,
        "budget_seconds": 2.5,
        "threads": 3,
    }
    text = pl.read_parquet(tmp_path / "inputs" / "item-text.parquet")
    assert text["item"].to_list() == list(range(23))
    assert text["title"].to_list() == interactions.catalogue["title"].to_list()
    assert text.columns == ["item", "title", "category", "text"]


def test_the_number_of_threads_is_known_before_any_library_is_loaded(
    tmp_path: Path, interactions: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_python(monkeypatch, tmp_path, "import os; raise SystemExit(os.environ['OMP_NUM_THREADS'])")
    with pytest.raises(DeftRecError, match=r"failed with exit code 1: 3$"):
        run_peer(interactions, leave_one_out(interactions), "ease", tmp_path / "out", PeerRequest(threads=3))


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


@pytest.mark.parametrize("family", sorted(set(PEERS.values())))
def test_a_family_knows_the_names_of_its_peers(family: str) -> None:
    tree = ast.parse((peers_folder() / family / "run.py").read_text())
    [names] = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODELS"
    ]
    assert list(ast.literal_eval(names)) == [name for name, folder in PEERS.items() if folder == family]
