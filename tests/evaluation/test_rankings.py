"""Rankings go out and come back the same, and every bad file is refused by row, column and value."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from deftrec.data.interactions import Interactions
from deftrec.data.split import Cases, leave_one_out
from deftrec.errors import DataError
from deftrec.evaluation.metrics import MISSED, accuracy, ranks_from_scores
from deftrec.evaluation.rankings import ranking_frame, read_rankings, write_rankings

ITEMS = [f"item {n} é" for n in range(12)]


@pytest.fixture
def interactions() -> Interactions:
    rng = np.random.default_rng(5)
    rows = [
        {"user": f"u{user}", "item": ITEMS[item], "time": time}
        for user in range(9)
        for time, item in enumerate(rng.permutation(12)[: 5 + user % 3])
    ]
    return Interactions.from_frame(pl.DataFrame(rows))


@pytest.fixture
def cases(interactions: Interactions) -> Cases:
    return leave_one_out(interactions).cases("test")


@pytest.fixture
def good(interactions: Interactions, cases: Cases) -> pl.DataFrame:
    """Three items for every user, the target second."""
    rows = []
    for user, target in zip(cases.users, cases.targets, strict=True):
        others = [n for n in range(12) if n not in interactions.sequences[user]]
        for rank, item in enumerate([others[0], int(target), others[1]]):
            rows.append(
                {
                    "user": interactions.users[int(user)],
                    "item": interactions.catalogue["item"][item],
                    "rank": rank + 1,
                    "score": -float(rank),
                }
            )
    return pl.DataFrame(rows)


def chunks(frame: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    return iter(frame.iter_slices(size))


def test_a_ranking_of_the_whole_catalogue_comes_back_as_it_was(
    tmp_path: Path, interactions: Interactions, cases: Cases
) -> None:
    scores = torch.randint(0, 6, (len(cases), 12), generator=torch.Generator().manual_seed(0)).float()
    scores[torch.from_numpy(cases.histories.owners()), torch.from_numpy(cases.histories.items).long()] = -torch.inf
    values, top = scores.sort(descending=True, stable=True)
    top[values == -torch.inf] = -1
    users = [interactions.users[int(user)] for user in cases.users]
    frames = (
        ranking_frame(interactions, users[n : n + 4], top[n : n + 4].numpy(), values[n : n + 4].numpy())
        for n in range(0, len(users), 4)
    )
    write_rankings(tmp_path / "r.parquet", frames)
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]

    read = read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude", depth=12)
    expected = ranks_from_scores(scores, torch.from_numpy(cases.targets))
    assert torch.equal(read.ranks.greater, expected.greater)
    assert torch.equal(read.ranks.ties, expected.ties)
    assert torch.equal(read.top_items, top)
    assert (read.users_missing, read.users_unasked, read.seen_removed) == (0, 0, 0)


@pytest.mark.parametrize(("mapped", "first"), [(None, 2**62), (pl.String, 2**62), (pl.Float64, 2**50)])
def test_integer_ids_are_the_same_as_their_digits(tmp_path: Path, mapped: pl.DataType | None, first: int) -> None:
    rows = [{"user": first + user, "item": 100 + (user + n) % 7, "time": n} for user in range(4) for n in range(4)]
    interactions = Interactions.from_frame(pl.DataFrame(rows))
    cases = leave_one_out(interactions).cases("test")
    frame = ranking_frame(interactions, interactions.users.to_list(), cases.targets[:, None], np.ones((4, 1)))
    if mapped is not None:
        frame = frame.with_columns(pl.col("user", "item").cast(mapped))
    write_rankings(tmp_path / "r.parquet", [frame])
    read = read_rankings(tmp_path / "r.parquet", interactions, cases, "keep")
    assert read.ranks.greater.tolist() == [0] * 4


def test_unsigned_ids_have_one_type_in_every_chunk(tmp_path: Path) -> None:
    ids = [1, 2, 2**63, 2**63 + 1]
    users = pl.Series([user for user in ids for _ in range(3)], dtype=pl.UInt64)
    events = pl.DataFrame({"user": users, "item": list("abc") * 4, "time": range(12)})
    interactions = Interactions.from_frame(events)
    for users_of in (interactions.users, interactions.users.to_list()):
        chunks_of = (
            ranking_frame(interactions, users_of[n : n + 2], np.zeros((2, 1), int), np.ones((2, 1))) for n in (0, 2)
        )
        write_rankings(tmp_path / "r.parquet", chunks_of)
        assert pl.read_parquet(tmp_path / "r.parquet")["user"].to_list() == ids


def test_chunks_of_other_types_are_refused(tmp_path: Path, good: pl.DataFrame) -> None:
    numbers = good.with_columns(user=pl.lit(1))
    with pytest.raises(DataError, match="ids of types Int32, String after String, String; give every chunk the same"):
        write_rankings(tmp_path / "r.parquet", [good, numbers])
    assert list(tmp_path.iterdir()) == []


def test_scores_decide_and_their_ties_count(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame
) -> None:
    tied = good.with_columns(pl.lit(1.0).alias("score"))
    write_rankings(tmp_path / "r.parquet", chunks(tied, 5))
    read = read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")
    assert read.ranks.greater.tolist() == [0] * 9
    assert read.ranks.ties.tolist() == [2] * 9
    assert accuracy(read.ranks, [1])["hr@1"].tolist() == pytest.approx([1 / 3] * 9)
    assert read.top_items[:, 1].tolist() == cases.targets.tolist()  # ranks order the list among equal scores


@pytest.mark.parametrize("how", ["null", "absent"])
def test_without_scores_ranks_decide(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame, how: str
) -> None:
    frame = good.drop("score") if how == "absent" else good.with_columns(pl.lit(None, pl.Float64).alias("score"))
    frame.sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "r.parquet")
    read = read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")
    assert read.ranks.greater.tolist() == [1] * 9
    assert read.ranks.ties.tolist() == [0] * 9


def test_missing_users_are_misses_and_users_not_asked_are_ignored(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame
) -> None:
    good.filter(pl.col("user") != "u3").write_parquet(tmp_path / "r.parquet")
    read = read_rankings(tmp_path / "r.parquet", interactions, cases.head(5), "exclude")
    assert len(read.ranks) == 5
    assert (read.users_missing, read.users_unasked) == (1, 4)
    place = [interactions.users[int(user)] for user in cases.users].index("u3")
    assert read.ranks.greater.tolist() == [MISSED if n == place else 1 for n in range(5)]
    assert read.top_items[place].tolist() == [-1] * 50


def test_seen_items_leave_the_list_and_the_others_move_up(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame
) -> None:
    first = pl.DataFrame(
        {
            "user": good["user"].unique(maintain_order=True),
            "item": interactions.catalogue["item"].gather([int(history[0]) for history in cases.histories]),
        }
    ).with_columns(pl.lit(1, pl.Int64).alias("rank"), pl.lit(9.0).alias("score"))
    pl.concat([first, good]).write_parquet(tmp_path / "r.parquet")
    excluded = read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")
    kept = read_rankings(tmp_path / "r.parquet", interactions, cases, "keep")
    assert (excluded.seen_removed, kept.seen_removed) == (9, 0)
    assert excluded.ranks.greater.tolist() == [1] * 9
    assert kept.ranks.greater.tolist() == [2] * 9
    assert torch.equal(excluded.top_items[:, :3], kept.top_items[:, 1:4])


def test_a_target_that_was_seen_is_a_miss_under_exclude_only(tmp_path: Path) -> None:
    rows = [{"user": 1, "item": item, "time": time} for time, item in enumerate(["a", "b", "c", "a"])]
    interactions = Interactions.from_frame(pl.DataFrame(rows))
    cases = leave_one_out(interactions).cases("test")
    frame = pl.DataFrame({"user": [1], "item": ["a"], "rank": [1], "score": [1.0]})
    write_rankings(tmp_path / "r.parquet", [frame])
    read = {seen: read_rankings(tmp_path / "r.parquet", interactions, cases, seen) for seen in ("exclude", "keep")}
    assert read["exclude"].ranks.greater.tolist() == [MISSED]
    assert read["keep"].ranks.greater.tolist() == [0]


BAD = {
    "unknown user": (
        {"user": "nobody"},
        r"row 5, column 'user': 'nobody' is not among the users of unnamed; write the ids",
    ),
    "unknown item": (
        {"item": "nothing"},
        r"row 5, column 'item': 'nothing' is not among the items of unnamed; write the ids",
    ),
    "null user": ({"user": None}, r"row 5, column 'user': None is not among the users"),
    "null score": ({"score": None}, r"row 5, column 'score': None cannot be ordered; give every row a finite score"),
    "NaN score": ({"score": float("nan")}, r"row 5, column 'score': nan cannot be ordered"),
    "infinite score": ({"score": float("inf")}, r"row 5, column 'score': inf cannot be ordered"),
}


@pytest.mark.parametrize("values", [[["u0"]], [True], [{"id": "u0"}]])
def test_ids_of_another_type_are_named(
    tmp_path: Path, interactions: Interactions, cases: Cases, values: list[object]
) -> None:
    pl.DataFrame({"user": values, "item": ["x"], "rank": [1]}).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"r\.parquet: row 1, column 'user' holds .*, which cannot be an id"):
        read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame, name: str
) -> None:
    change, message = BAD[name]
    rows = good.to_dicts()
    rows[4] |= change
    pl.DataFrame(rows, schema=good.schema).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=message) as failure:
        read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")
    assert str(tmp_path / "r.parquet") in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit(0).alias("rank"), r"row 1, column 'rank': 0.0 cannot be ordered; ranks are numbers from 1"),
        (pl.lit(None, pl.Int64).alias("rank"), r"row 1, column 'rank': None cannot be ordered"),
        (pl.lit("first").alias("rank"), r"row 1, column 'rank': 'first' is not a number"),
    ],
)
def test_bad_ranks_matter_where_there_are_no_scores(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame, change: pl.Expr, message: str
) -> None:
    good.drop("score").with_columns(change).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=message):
        read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")


def test_duplicates_are_named(tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame) -> None:
    pl.concat([good, good[4:5]]).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=rf"row 28, column 'item': '{good['item'][4]}' is listed twice"):
        read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        (["user"], "no column 'user'; the columns are item, rank, score"),
        (["item"], "no column 'item'"),
        (["rank", "score"], "no column 'score' or 'rank' to order by; the columns are user, item"),
    ],
)
def test_missing_columns_are_named(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame, dropped: list[str], message: str
) -> None:
    good.drop(dropped).write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=message):
        read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")


def test_files_that_are_no_rankings(tmp_path: Path, interactions: Interactions, cases: Cases) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_rankings(tmp_path / "none.parquet", interactions, cases, "exclude")
    (tmp_path / "text.parquet").write_text("user,item\n1,2\n")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_rankings(tmp_path / "text.parquet", interactions, cases, "exclude")


@pytest.mark.parametrize("score", [pl.Float64, pl.String])
def test_an_empty_file_is_all_misses(
    tmp_path: Path, interactions: Interactions, cases: Cases, good: pl.DataFrame, score: pl.DataType
) -> None:
    good[:0].with_columns(pl.col("score").cast(score)).write_parquet(tmp_path / "r.parquet")
    read = read_rankings(tmp_path / "r.parquet", interactions, cases, "exclude")
    assert read.users_missing == 9
    assert bool(read.ranks.missed().all())


def test_a_failure_while_writing_leaves_the_old_file_and_is_not_disguised(tmp_path: Path, good: pl.DataFrame) -> None:
    path = tmp_path / "r.parquet"
    write_rankings(path, [good])
    before = path.read_bytes()

    def broken() -> Iterator[pl.DataFrame]:
        yield good
        raise DataError("the model fell over")

    with pytest.raises(DataError, match=r"^the model fell over$"):
        write_rankings(path, broken())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["r.parquet"]


def test_nothing_to_write_and_columns_amiss_are_errors(tmp_path: Path, good: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="no recommendations to write"):
        write_rankings(tmp_path / "r.parquet", [])
    with pytest.raises(DataError, match="recommendations without column 'score'; they have user, item, rank"):
        write_rankings(tmp_path / "r.parquet", [good.drop("score")])
    assert list(tmp_path.iterdir()) == []


def test_writing_needs_memory_for_few_chunks_not_for_all(tmp_path: Path) -> None:
    """50 chunks of 12 MB: 600 MB if they were gathered first."""
    script = """
import resource, sys
import numpy as np, polars as pl
from deftrec.evaluation.rankings import write_rankings

rng = np.random.default_rng(0)
def frames():
    for n in range(50):
        yield pl.DataFrame({"user": n, "item": np.arange(500_000), "rank": 1, "score": rng.random(500_000, np.float32)})

unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
write_rankings(sys.argv[1], frames())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before) >> 20)
"""
    path = tmp_path / "r.parquet"
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 300
    assert pl.scan_parquet(path).select(pl.len()).collect().item() == 50 * 500_000
