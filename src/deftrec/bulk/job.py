"""Rankings of all users in parts: the request, the folder of the parts, and the engines that rank them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel

from deftrec.errors import DeftRecError, MissingExtraError
from deftrec.evaluation import Seen, write_rankings
from deftrec.files import write_text
from deftrec.hardware import Precision, Runtime
from deftrec.incremental.overlay import FILE as OVERLAY
from deftrec.recommender import Recommender
from deftrec.records import read_record
from deftrec.rerankers import ItemSimilarity, RerankerName
from deftrec.run import run_digest

REQUEST = "request.json"
EngineName: TypeAlias = Literal["local", "ray"]


class Job(BaseModel, frozen=True, extra="forbid"):
    """Rankings of all users of a run, `part_users` users in each part.

    Attributes:
        run: SHA-256 of the run's weights and overlay.
        users: number of users.
        k: items per user.
        seen: `exclude` or `keep` items of the history.
        seed: seed of the sampling noise; None: the run's own.
        rerank, strength, similarity: see `Rerankers.make`.
        part_users: users of a part.
        precision, runtime: see `Recommender`.
    """

    run: str
    users: int
    k: int
    seen: Seen
    seed: int | None
    part_users: int
    precision: Precision = "fp32"
    runtime: Runtime = "torch"
    rerank: RerankerName = "none"
    strength: float | None = None
    similarity: ItemSimilarity = "co-occurrence"

    @classmethod
    def of(
        cls,
        run: Path,
        recommender: Recommender,
        *,
        k: int,
        seen: Seen,
        seed: int | None,
        part_users: int,
        rerank: RerankerName = "none",
        strength: float | None = None,
        similarity: ItemSimilarity = "co-occurrence",
    ) -> "Job":
        """The job for the run in the directory `run`; a `DeftRecError` where `Rerankers.make` refuses its re-ranker."""
        recommender.rerankers.check(rerank, strength, similarity)
        return cls(
            run=run_digest(run, OVERLAY),
            users=recommender.interactions.n_users,
            k=k,
            seen=seen,
            seed=seed,
            part_users=part_users,
            precision=recommender.precision,
            runtime=recommender.runtime,
            rerank=rerank,
            strength=strength,
            similarity=similarity,
        )

    def check(self, run: Path) -> None:
        """Raise a `DeftRecError` if the directory `run` holds another run."""
        if run_digest(run, OVERLAY) != self.run:
            raise DeftRecError(f"{run}: not the run that the parts are of; every machine needs the same one there")

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.users // self.part_users)

    def members(self, part: int) -> range:
        """User numbers of a part."""
        return range(part * self.part_users, min((part + 1) * self.part_users, self.users))

    def file(self, folder: Path, part: int) -> Path:
        """File of a part."""
        return folder / f"part-{part:06d}.parquet"

    def begin(self, folder: Path) -> list[int]:
        """Numbers of the parts that are missing in `folder`.

        Raises a `DeftRecError` if the folder holds parts of another job, or other files.
        """
        request = folder / REQUEST
        if request.is_file():
            if read_record(request, Job, "give another directory") != self:
                raise DeftRecError(
                    f"{folder}: holds parts of another run or of other options (see {REQUEST}); give another directory"
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DeftRecError(f"{folder}: not empty, and no parts of rankings; give another directory")
        else:
            write_text(request, self.model_dump_json(indent=2) + "\n")
        return [part for part in range(self.parts) if not self.file(folder, part).is_file()]

    def write(self, recommender: Recommender, folder: Path, part: int) -> int:
        """Rank the users of a part, write its file atomically, and return the number of users."""
        users = self.members(part)
        exclude, reranker = self.seen == "exclude", recommender.reranker(self.rerank, self.strength, self.similarity)
        asked = recommender.lists.read(
            self.k, timed=True, exclude_seen=exclude, rerank=reranker or "none", seed=self.seed
        )
        frames = recommender.lists.frames(np.array(users), asked, wait=False)
        write_rankings(self.file(folder, part), frames)
        return len(users)


Engine: TypeAlias = Callable[[Job, Path, Recommender, Path, list[int]], Iterator[int]]
"""Writes each of some parts of a job to a folder, and yields its number of users, in any order.

Arguments: the job, the run directory, its recommender, the folder and the numbers of the parts. Run directory and
folder have the same paths on every machine.
"""


def rank_here(job: Job, run: Path, recommender: Recommender, folder: Path, parts: list[int]) -> Iterator[int]:
    """Rank in this process; see `Engine`."""
    return (job.write(recommender, folder, part) for part in parts)


class RankParts:
    """A Ray worker, which reads the run once and then ranks parts; arguments as for `Engine`."""

    def __init__(self, job: Job, run: Path, folder: Path) -> None:
        job.check(run)
        self.job, self.folder = job, folder
        self.recommender = Recommender.load(run, precision=job.precision, runtime=job.runtime)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of the data set of parts, with its number of users."""
        return {**row, "users": self.job.write(self.recommender, self.folder, int(row["part"]))}


def rank_on_ray(job: Job, run: Path, recommender: Recommender, folder: Path, parts: list[int]) -> Iterator[int]:
    """Rank with Ray Data on the cluster of `RAY_ADDRESS`, or else on this machine; see `Engine`.

    Each worker holds a copy of the run. There is one worker for every GPU, or for every CPU without GPUs.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("ray", "ray", "`engine=ray`") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    gpus = int(ray.cluster_resources().get("GPU", 0))
    workers = max(1, min(len(parts), gpus or int(ray.cluster_resources()["CPU"])))
    rows = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    ranked = rows.map(
        RankParts,
        fn_constructor_args=(job, run.resolve(), folder.resolve()),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_gpus=1 if gpus else 0,
    )
    try:
        for row in ranked.iter_rows():
            yield int(row["users"])
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        raise cause if isinstance(cause, DeftRecError) else DeftRecError(f"Ray: {error}") from error


ENGINES: dict[EngineName, Engine] = {"local": rank_here, "ray": rank_on_ray}
