"""Engines that rank the parts: this process, or a Ray cluster."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from deftrec.bulk.job import Job
from deftrec.errors import DeftRecError, MissingExtraError
from deftrec.recommender import Recommender

EngineName: TypeAlias = Literal["local", "ray"]


class Engine(ABC):
    """Ranks parts of a job."""

    @abstractmethod
    def rank(self, job: Job, run: Path, recommender: Recommender, folder: Path, parts: list[int]) -> Iterator[int]:
        """Write each of `parts` to `folder` and yield its number of users, in any order.

        The run directory `run` and `folder` have the same paths on every machine; `recommender` is that of `run`.
        """


class Local(Engine):
    """This process."""

    def rank(self, job: Job, run: Path, recommender: Recommender, folder: Path, parts: list[int]) -> Iterator[int]:
        """See `Engine.rank`."""
        return (job.write(recommender, folder, part) for part in parts)


class RankParts:
    """A Ray worker, which reads the run once and then ranks parts; arguments as for `Engine.rank`."""

    def __init__(self, job: Job, run: Path, folder: Path) -> None:
        job.check(run)
        self.job, self.folder = job, folder
        self.recommender = Recommender.load(run, precision=job.precision, runtime=job.runtime)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of the data set of parts, with its number of users."""
        return {**row, "users": self.job.write(self.recommender, self.folder, int(row["part"]))}


class Ray(Engine):
    """Ray Data on the cluster of `RAY_ADDRESS`, or else on this machine.

    Each worker holds a copy of the run. There is one worker for every GPU, or for every CPU without GPUs.
    """

    def rank(self, job: Job, run: Path, recommender: Recommender, folder: Path, parts: list[int]) -> Iterator[int]:
        """See `Engine.rank`."""
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingExtraError("ray", "ray", "--engine ray") from error
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


ENGINES: dict[EngineName, type[Engine]] = {"local": Local, "ray": Ray}
