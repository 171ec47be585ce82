"""Rankings of all users in parts: the request and the folder of the parts."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deftrec.errors import DeftRecError
from deftrec.evaluation import Seen, write_rankings
from deftrec.files import write_text
from deftrec.hardware import Precision, Runtime
from deftrec.incremental.overlay import FILE as OVERLAY
from deftrec.recommender import Recommender
from deftrec.run import read_model, run_digest

REQUEST = "request.json"


class Job(BaseModel):
    """Rankings of all users of a run, `part_users` users in each part.

    Attributes:
        run: SHA-256 of the run's weights and overlay.
        users: number of users.
        k: items per user.
        seen: `exclude` or `keep` items of the history.
        seed: seed of the sampling noise; None: the run's own.
        part_users: users of a part.
        precision, runtime: see `Recommender`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    users: int
    k: int
    seen: Seen
    seed: int | None
    part_users: int
    precision: Precision = "fp32"
    runtime: Runtime = "torch"

    @classmethod
    def of(cls, run: Path, recommender: Recommender, *, k: int, seen: Seen, seed: int | None, part_users: int) -> "Job":
        """The job for the run in the directory `run`."""
        return cls(
            run=run_digest(run, OVERLAY),
            users=recommender.interactions.n_users,
            k=k,
            seen=seen,
            seed=seed,
            part_users=part_users,
            precision=recommender.precision,
            runtime=recommender.runtime,
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
            if read_model(request, Job) != self:
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
        frames = recommender.recommend_all(self.k, users=users, exclude_seen=self.seen == "exclude", seed=self.seed)
        write_rankings(self.file(folder, part), frames)
        return len(users)
