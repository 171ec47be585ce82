"""Everybody's rankings in parts: the same as in one file, whichever engine makes them, and nothing is made twice."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from deftrec import Recommender
from deftrec.bulk import ENGINES, EngineName, Job
from deftrec.bulk.job import RankParts
from deftrec.errors import DeftRecError, MissingExtraError
from deftrec.evaluation import write_rankings
from toy import ring, tiny_config

OPTIONS = {"k": 3, "seen": "exclude", "seed": None, "part_users": 9}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    Recommender.fit(ring(users=40, strings=True), tiny_config(training={"epochs": 1}), out=folder)
    return folder


@pytest.fixture(scope="module")
def recommender(run: Path) -> Recommender:
    return Recommender.load(run)


@pytest.fixture(scope="module")
def job(run: Path, recommender: Recommender) -> Job:
    return Job.of(run, recommender, **OPTIONS)  # type: ignore[arg-type]


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[EngineName]:
    """Each engine; Ray on this machine, with two workers."""
    if request.param == "ray":
        ray = pytest.importorskip("ray", reason='Ray: pip install "deftrec[ray]"')
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield request.param
        ray.shutdown()
    else:
        yield request.param


@pytest.mark.timeout(180)
def test_parts_are_the_rankings_of_one_file(
    engine: EngineName, job: Job, run: Path, recommender: Recommender, tmp_path: Path
) -> None:
    out = tmp_path / "rankings"
    missing = job.begin(out)
    assert missing == [0, 1, 2, 3, 4]
    done = ENGINES[engine](job, run, recommender, out, missing)
    assert sorted(done) == [4, 9, 9, 9, 9]
    assert job.begin(out) == []
    whole = pl.concat(recommender.recommend_all(3))
    assert_frame_equal(pl.read_parquet(out / "*.parquet"), whole, rel_tol=1e-4)
    assert not [path for path in out.iterdir() if path.suffix == ".tmp"]


@pytest.mark.timeout(180)
def test_a_part_that_fails_says_why(
    engine: EngineName, job: Job, run: Path, recommender: Recommender, tmp_path: Path
) -> None:
    if engine == "local":
        pytest.skip("its run is the one that was read")
    other = job.model_copy(update={"run": "0"})
    with pytest.raises(DeftRecError, match="not the run that the parts are of"):
        list(ENGINES[engine](other, run, recommender, tmp_path, [0]))


def test_what_is_there_is_not_made_again(job: Job, run: Path, recommender: Recommender, tmp_path: Path) -> None:
    engine = ENGINES["local"]
    assert list(islice(engine(job, run, recommender, tmp_path, job.begin(tmp_path)), 2)) == [9, 9]  # stopped here
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert job.begin(tmp_path) == [2, 3, 4]
    job.file(tmp_path, 0).unlink()
    assert list(engine(job, run, recommender, tmp_path, job.begin(tmp_path))) == [9, 9, 9, 4]
    assert job.file(tmp_path, 1).stat().st_mtime_ns == kept[job.file(tmp_path, 1)]
    assert pl.read_parquet(tmp_path / "*.parquet")["user"].n_unique() == 40


@pytest.mark.parametrize("changes", [{"k": 4}, {"seen": "keep"}, {"seed": 1}, {"part_users": 8}, {"run": "other"}])
def test_parts_of_something_else_are_refused(changes: dict[str, object], job: Job, tmp_path: Path) -> None:
    job.begin(tmp_path / "parts")
    with pytest.raises(DeftRecError, match="parts of another run or of other options"):
        job.model_copy(update=changes).begin(tmp_path / "parts")


def test_nobody_elses_directory_is_filled(job: Job, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(DeftRecError, match="not empty, and no parts of rankings"):
        job.begin(tmp_path)


def test_a_worker_reads_the_run_once_and_ranks_what_it_is_given(
    job: Job, run: Path, recommender: Recommender, tmp_path: Path
) -> None:
    worker = RankParts(job, run, tmp_path)
    assert worker({"part": 4}) == {"part": 4, "users": 4}
    assert worker({"part": 0}) == {"part": 0, "users": 9}
    expected = pl.concat(recommender.recommend_all(3, users=recommender.interactions.users[36:40]))
    assert_frame_equal(pl.read_parquet(job.file(tmp_path, 4)), expected)
    half = Job.of(run, Recommender.load(run, precision="bf16"), **OPTIONS)
    assert half != job
    assert RankParts(half, run, tmp_path).recommender.precision == "bf16"


def test_unsigned_users_are_of_one_type_in_every_part(
    job: Job, recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = pl.Series([*range(20), *range(2**63, 2**63 + 20)], dtype=pl.UInt64)
    monkeypatch.setattr(recommender, "interactions", replace(recommender.interactions, users=users))
    monkeypatch.setattr("deftrec.list_making.USERS_AT_ONCE", 15)
    write_rankings(tmp_path / "all.parquet", recommender.recommend_all(3))
    for part in job.begin(tmp_path / "parts"):
        job.write(recommender, tmp_path / "parts", part)
    whole, parts = pl.read_parquet(tmp_path / "all.parquet"), pl.read_parquet(tmp_path / "parts" / "*.parquet")
    assert whole["user"].unique(maintain_order=True).to_list() == users.to_list()
    assert_frame_equal(parts, whole, rel_tol=1e-4)


def test_what_came_after_training_makes_another_job(run: Path, recommender: Recommender, tmp_path: Path) -> None:
    before = Job.of(run, recommender, **OPTIONS)  # type: ignore[arg-type]
    overlay = run / "overlay.safetensors"
    overlay.write_bytes(b"news")
    after = Job.of(run, recommender, **OPTIONS)  # type: ignore[arg-type]
    overlay.unlink()
    assert before != after


def test_without_ray_its_extra_is_named(
    job: Job, run: Path, recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'`engine=ray` needs ray: pip install "deftrec\[ray\]"'):
        list(ENGINES["ray"](job, run, recommender, tmp_path, [0]))


def test_the_command_goes_on_where_it_was_stopped(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deftrec", "recommend", str(run), "--all-users", "--out", str(tmp_path / "parts")]
    command += ["--part-users", "15", "-k", "2"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stdout == f"{tmp_path / 'parts'}: up to 2 items for each of 40 users\n"
    assert len(list((tmp_path / "parts").glob("*.parquet"))) == 3
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "3 of 3 parts are there" in again.stderr
