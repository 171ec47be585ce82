"""Every verb, as a script outside the repository would call it."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from calling import TINY, Call
from safetensors.torch import load_file

from deftrec import Interactions
from deftrec.cli.options import split_ids
from deftrec.data import Meta
from toy import ring

RESULT_KEYS = {"dataset", "split", "seen", "fit", "users", "metrics", "ci95"}


def test_train_shows_both_splits_and_says_what_was_fitted(deftrec: Call, data: Path, tmp_path: Path) -> None:
    said = deftrec("train", "--data", data, "--out", tmp_path / "run", *TINY)
    assert said.code == 0, said.err
    assert "leave-one-out validation: 60 users" in said.out
    assert "leave-one-out test: 60 users" in said.out
    assert said.out.count("fitted on train") == 2
    assert str(tmp_path / "run" / "report" / "index.html") in said.out.replace("\n", "")
    results = json.loads((tmp_path / "run" / "metrics.json").read_text())["results"]
    assert {(one["split"], one["fit"]) for one in results} == {("validation", "train"), ("test", "train")}


def test_training_off_a_terminal_says_the_last_figures_and_few_lines(deftrec: Call, data: Path, tmp_path: Path) -> None:
    said = deftrec("train", "--data", data, "--out", tmp_path / "run", *TINY)
    [last] = [line for line in said.err.splitlines() if re.match(r"joint \d+ in", line)]
    assert last.startswith("joint 2 in ")
    assert "loss" in last
    assert "validation NDCG@10" in last
    assert "of the matrix rate" not in said.err
    assert "\x1b" not in said.err + said.out


def test_verbose_training_says_the_share_of_the_matrix_rate(deftrec: Call, data: Path, tmp_path: Path) -> None:
    assert "% of the matrix rate" in deftrec("train", "--data", data, "--out", tmp_path, *TINY, "--verbose").err


def test_train_prints_json_and_takes_a_seed(deftrec: Call, data: Path, tmp_path: Path) -> None:
    said = deftrec("train", "--data", data, "--out", tmp_path / "run", *TINY, "--seed", 7, "--json")
    assert {one["split"] for one in json.loads(said.out)["results"]} == {"validation", "test"}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 7


def test_a_refit_is_measured_on_test_alone_and_says_so(deftrec: Call, data: Path, tmp_path: Path) -> None:
    said = deftrec("train", "--data", data, "--out", tmp_path / "run", *TINY, "--refit")
    assert said.code == 0, said.err
    assert "fitted on train+validation" in said.out
    assert "validation: 60 users" not in said.out
    flattered = deftrec("evaluate", tmp_path / "run", "--split", "validation")
    assert flattered.code == 0
    assert "these values are too high" in flattered.err


def test_resume_is_refused_where_there_is_nothing_to_resume(deftrec: Call, data: Path, run: Path) -> None:
    said = deftrec("train", "--data", data, "--out", run, *TINY, "--resume")
    assert said.code == 1
    assert "this run is complete" in said.err


def test_evaluate_writes_json(deftrec: Call, run: Path, tmp_path: Path) -> None:
    said = deftrec("evaluate", run, "--split", "test", "--seen", "keep", "--json-file", tmp_path / "result.json")
    assert said.code == 0, said.err
    assert "seen items kept" in said.out
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) >= RESULT_KEYS
    assert (result["dataset"], result["split"], result["seen"], result["fit"]) == ("ring", "test", "keep", "train")
    assert {"hr@10", "ndcg@10", "mrr@100"} <= set(result["metrics"])
    assert all(low <= result["metrics"][key] <= high for key, (low, high) in result["ci95"].items())


def test_evaluate_shows_both_parts_of_a_hybrid(deftrec: Call, run: Path) -> None:
    assert any(name.startswith("collaborative_prior/") for name in load_file(run / "ranker.safetensors"))
    said = deftrec("evaluate", run, "--json")
    result = json.loads(said.out)
    assert set(result["parts"]) == {"latent", "collaborative_prior"}
    assert result["parts"]["latent"]["ndcg@10"] != result["metrics"]["ndcg@10"]


def test_rankings_that_the_model_wrote_measure_as_the_model_does(deftrec: Call, run: Path, tmp_path: Path) -> None:
    """Ranked from the histories of the test, cut nowhere: the file's metrics are the model's."""
    from deftrec import Recommender
    from deftrec.data import make_split
    from deftrec.evaluation import ranking_frame, write_rankings

    recommender = Recommender.load(run)
    cases = make_split(recommender.interactions, "leave-one-out").cases("test")
    _, found = recommender.examine("test").rank("exclude")
    users = recommender.interactions.users.gather(cases.users).to_list()
    frame = ranking_frame(recommender.interactions, users, found.items.numpy(), found.scores.numpy())
    write_rankings(tmp_path / "other.parquet", [frame])
    said = deftrec("evaluate", run, "--rankings", tmp_path / "other.parquet", "--json")
    theirs, ours = json.loads(said.out), recommender.evaluate("test")
    assert (theirs["name"], theirs["fit"]) == ("other", "unknown")
    assert theirs["metrics"]["ndcg@10"] == pytest.approx(ours.metrics["ndcg@10"])


def test_recommend_to_a_user(deftrec: Call, run: Path) -> None:
    user = Interactions.load(run / "data").users[0]
    shown = deftrec("recommend", run, "--user", user, "-k", 3)
    assert shown.code == 0, shown.err
    assert "[bold]number" in shown.out, "a title is no markup"
    whole = json.loads(deftrec("recommend", run, "--user", user, "-k", 3, "--json").out)
    assert whole["user"] == user
    assert [one["rank"] for one in whole["recommendations"]] == [1, 2, 3]
    assert set(whole["recommendations"][0]) == {"item", "title", "score", "rank", "source"}
    assert not {one["item"] for one in whole["recommendations"]} & set(whole["history"])


def test_recommend_in_half_the_width(deftrec: Call, run: Path) -> None:
    exact, half = (
        json.loads(deftrec("recommend", run, "--user", "u 1000", "-k", "24", "--precision", precision, "--json").out)
        for precision in ("fp32", "bf16")
    )
    scores = [{one["item"]: one["score"] for one in found["recommendations"]} for found in (exact, half)]
    assert scores[0] != scores[1]
    assert scores[1] == pytest.approx(scores[0], abs=1.0)


def test_a_recommendation_is_explained(deftrec: Call, run: Path) -> None:
    user = Interactions.load(run / "data").users[0]
    shown = deftrec("recommend", run, "--user", user, "-k", 2, "--explain")
    assert shown.code == 0, shown.err
    said = shown.out.replace("\n", " ")
    assert said.count("influenced by [bold]number") == 2, "a title is no markup here either"
    assert "latent " in said
    whole = json.loads(deftrec("recommend", run, "--user", user, "-k", 2, "--explain", "--json").out)
    terms = json.loads((run / "run.json").read_text())["terms"]
    explained = {name for name in ("collaborative_prior", "popularity_trend") if terms[name]["active"]}
    assert "collaborative_prior" in explained
    for one in whole["recommendations"]:
        why = one["explanation"]
        assert why["text"] is None
        assert {influence["item"] for influence in why["influences"]} <= set(whole["history"])
        assert set(why["shares"]) == {"latent", *explained}
        assert 0.99 < sum(why["shares"].values()) < 1.01
    refused = deftrec("recommend", run, "--all-users", "--out", run / "x.parquet", "--explain")
    assert refused.code == 1
    assert "give --user or --history" in refused.err


def test_recommend_after_a_history_with_a_comma_in_an_id(deftrec: Call, run: Path) -> None:
    whole = json.loads(deftrec("recommend", run, "--history", '"i,100", i/101', "--json").out)
    assert whole["history"] == ["i,100", "i/101"]
    assert len(whole["recommendations"]) == 10
    kept = json.loads(deftrec("recommend", run, "--history", "i/101", "-k", 24, "--seen", "keep", "--json").out)
    assert "i/101" in {one["item"] for one in kept["recommendations"]}


def test_an_empty_history_gets_the_most_popular_items(deftrec: Call, run: Path) -> None:
    whole = json.loads(deftrec("recommend", run, "--history", "", "--json").out)
    assert {one["source"] for one in whole["recommendations"]} == {"popularity"}
    assert "history: empty, so the most popular items" in deftrec("recommend", run, "--history", "").out


def test_recommend_to_everybody(deftrec: Call, run: Path, tmp_path: Path) -> None:
    said = deftrec("recommend", run, "--all-users", "--out", tmp_path / "all.parquet", "-k", 4)
    assert said.code == 0, said.err
    assert said.out == f"{tmp_path / 'all.parquet'}: up to 4 items for each of 60 users\n"
    table = pl.read_parquet(tmp_path / "all.parquet")
    assert table.columns == ["user", "item", "rank", "score"]
    assert table.height == 60 * 4
    user = table["user"][0]
    alone = json.loads(deftrec("recommend", run, "--user", user, "-k", 4, "--json").out)
    assert [one["item"] for one in alone["recommendations"]] == table.filter(pl.col("user") == user)["item"].to_list()


@pytest.mark.parametrize(("split", "last"), [("test", "last item"), ("validation", "last two items")])
def test_rankings_after_the_whole_history_are_warned_of(
    deftrec: Call, run: Path, tmp_path: Path, split: str, last: str
) -> None:
    assert deftrec("recommend", run, "--all-users", "--out", tmp_path / "all.parquet", "-k", 24).code == 0
    said = deftrec("evaluate", run, "--rankings", tmp_path / "all.parquet", "--split", split)
    assert said.code == 0
    expected = f"warning: no target is in any list: for {split}, rank after all but each user's {last}"
    assert said.err.splitlines()[-1] == expected


def late_strangers(folder: Path) -> Path:
    """The ring by a clock, and after its end people who come once: under a temporal split nobody has a test target."""
    events = ring(users=60).events().with_columns(time=1000 * pl.int_range(pl.len()).over("user") + pl.col("user"))
    items = events["item"].unique()
    strangers = pl.DataFrame({"user": range(10_000, 10_100), "item": items[0], "time": range(10**6, 10**6 + 100)})
    data = pl.concat([events, strangers.cast(dict(events.schema))])
    Interactions.from_frame(data, meta=Meta(name="late")).save(folder)
    return folder


def test_a_part_without_targets_is_left_out(deftrec: Call, tmp_path: Path) -> None:
    data = late_strangers(tmp_path / "data")
    said = deftrec("train", "--data", data, "--out", tmp_path / "run", "--set", "data.split=temporal", *TINY)
    assert said.code == 0, said.err
    assert "no user has a test target, so test is not measured" in said.err
    [result] = json.loads((tmp_path / "run" / "metrics.json").read_text())["results"][:1]
    assert (result["split"], result["protocol"]) == ("validation", "temporal")
    refused = deftrec("evaluate", tmp_path / "run", "--split", "test")
    assert refused.code == 1
    assert "late: no user has a test target, so nothing can be measured" in refused.err


def test_without_validation_targets_the_split_is_named(deftrec: Call, tmp_path: Path) -> None:
    events = pl.DataFrame({"user": range(40), "item": [n % 5 for n in range(40)], "time": range(40)})
    Interactions.from_frame(events, meta=Meta(name="once")).save(tmp_path / "data")
    for split, reason in (
        ("temporal", "between the two cuts; set data.split to leave-one-out"),
        ("leave-one-out", "three"),
    ):
        said = deftrec(
            "train", "--data", tmp_path / "data", "--out", tmp_path / "r", "--set", f"data.split={split}", *TINY
        )
        assert said.code == 1
        assert reason in said.err


def test_similar(deftrec: Call, run: Path) -> None:
    whole = json.loads(deftrec("similar", run, "--item", "i,100", "-k", 3, "--json").out)
    assert whole["item"] == "i,100"
    assert len(whole["similar"]) == 3
    assert "i,100" not in {one["item"] for one in whole["similar"]}
    assert whole["title"] in deftrec("similar", run, "--item", "i,100").out


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a,b", ["a", "b"]),
        ("a, b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"say ""hi""",b c', ['say "hi"', "b c"]),
        ("", []),
    ],
)
def test_histories_are_read_as_csv(text: str, items: list[str]) -> None:
    assert split_ids(text) == items
