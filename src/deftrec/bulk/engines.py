"""Engines that rank the parts: this process, or a Ray cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from deftrec.bulk.job import Job
from deftrec.errors import DeftRecError, MissingExtraError
from deftrec.recommender import Recommender

EngineName: TypeAlias = Literal["local", "ray"]


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


ENGINES: dict[EngineName, Engine] = {"local": rank_here, "ray": rank_on_ray}
