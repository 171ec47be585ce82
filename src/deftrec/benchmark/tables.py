"""What a benchmark measured, as `results.json` holds it: one file a table, one row a system and seed.

A table has one dataset, one split, one fit and one rule for seen items. Numbers of two tables do not compare, so no
file and no plot ever holds two.
"""

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from deftrec.data.split import Fit, SplitName
from deftrec.evaluation.protocol import Seen

DEFTREC = "deftrec"
"""The system that is compared: the whole score. What its parts are worth stands under `deftrec/...`."""

Role: TypeAlias = Literal["deftrec", "part", "peer"]


def role_of(name: str) -> Role:
    """What a system is in the comparison: DeftRec itself, a part of it, or somebody else."""
    if name == DEFTREC:
        return "deftrec"
    return "part" if name.startswith(f"{DEFTREC}/") else "peer"


def table_file(fit: Fit, seen: Seen, *, first: bool) -> str:
    """The file of a table: the first one of a benchmark is `results.json`, the others say what they are."""
    if first:
        return "results.json"
    return f"results-{'train' if fit == 'train' else 'refit'}-{seen}.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Part):
    """One system under one seed.

    Attributes:
        name: the system.
        seed: of its training.
        fit: what it was fitted on; `unknown` for rankings that somebody brought, which stand in every table.
        metrics, ci95: as in `deftrec.evaluation.Result`.
        train_seconds: from the interactions to a fitted model, choosing settings or epochs included; None if unknown.
        users_per_second: of ranking for one table, 100 items a user, in memory; None if unknown.
        parameters: numbers that were fitted; None where the system has no such thing.
        settings: everything that decides what was trained, the choices of validation included.
        library: what trained it, with its version.
        budget_cut: whether the budget ended its search for settings, or a training, too early.
        revision: git revision of the code that ran it, where it ran from a checkout.
        users_missing: asked users without any recommendation; each counts as a miss.
    """

    name: str
    seed: int
    fit: Literal["train", "train+validation", "unknown"]
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    train_seconds: float | None
    users_per_second: float | None
    parameters: int | None
    settings: dict[str, Any]
    library: str
    budget_cut: bool
    revision: str | None
    users_missing: int


class Summary(_Part):
    """One system over its seeds; every user's metric is averaged over the seeds first.

    Attributes:
        name: the system.
        role: what it is in the comparison.
        seeds: those that were measured.
        metrics: means over seeds.
        spread: standard deviation over seeds; empty where there is one seed.
        ci95: 95 % bootstrap intervals over users, of NDCG@10 and HR@10.
        train_seconds, users_per_second: means over seeds; None if unknown.
        parameters: of the first seed.
        budget_cut: whether the budget ended its search, or a training, too early under any seed.
        fit: as in `Row`.
    """

    name: str
    role: Role
    seeds: tuple[int, ...]
    metrics: dict[str, float]
    spread: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    train_seconds: float | None
    users_per_second: float | None
    parameters: int | None
    budget_cut: bool
    fit: Literal["train", "train+validation", "unknown"]


class Comparison(_Part):
    """DeftRec against one peer on the same users.

    Attributes:
        peer: the other system.
        metric: what is compared.
        deftrec, other: means over users of the values averaged over seeds.
        difference: the first minus the second.
        ci95: paired 95 % bootstrap interval of the difference.
        p: two-sided paired bootstrap p-value of "no difference", not corrected for the number of peers.
        ratio: the first over the second; None where the second is 0.
    """

    peer: str
    metric: str
    deftrec: float
    other: float
    difference: float
    ci95: tuple[float, float]
    p: float
    ratio: float | None


class Slice(_Part):
    """Some of the asked users, and what each system is worth to them.

    Attributes:
        by: what the users were sorted by.
        name: of the slice.
        users: how many there are.
        metrics: NDCG@10 and HR@10 of each system, means over its seeds and these users.
    """

    by: str
    name: str
    users: int
    metrics: dict[str, dict[str, float]]


class Failure(_Part):
    """A system that could not be measured, and why in one line."""

    name: str
    seed: int
    reason: str


class Data(_Part):
    """The interactions that were split, by size and by SHA-256 (`Interactions.fingerprint`)."""

    users: int
    items: int
    interactions: int
    fingerprint: str
    source: str
    filters: dict[str, str]


class Table(_Part):
    """One table of a benchmark; `results.json`.

    Attributes:
        dataset: the data's name.
        split: how they were split; test targets are asked for.
        seen: whether items of the history are candidates.
        fit: what the systems were fitted on.
        models: a row a system and seed.
        machine: what it ran on.
        revision: git revision of the code that wrote this; rows name their own.
        command: what wrote this.
        version: of deftrec.
        users: how many users were asked.
        depth: length of the lists that were evaluated; past it no target is looked for, so MRR is cut for all alike.
        data: what was split.
        recipe: options of DeftRec as asked for, before `auto` is resolved and seeds are set.
        budget_minutes: most time of a peer's search, and of DeftRec's joint stage, under one seed; None: no limit.
        fingerprint: of the request: data, settings and versions.
        summaries: a row a system, best NDCG@10 first.
        comparisons: DeftRec against each peer, best peer first; empty where DeftRec failed.
        slices: the same by kind of user.
        failures: systems that are missing from the rows above.
    """

    dataset: str
    split: SplitName
    seen: Seen
    fit: Fit
    models: tuple[Row, ...]
    machine: dict[str, str]
    revision: str | None
    command: str
    version: str
    users: int
    depth: int
    data: Data
    recipe: dict[str, Any]
    budget_minutes: float | None
    fingerprint: str
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    slices: tuple[Slice, ...]
    failures: tuple[Failure, ...]

    def best_peer(self) -> Comparison | None:
        """DeftRec against the peer with the highest NDCG@10; None where either is missing."""
        found = [one for one in self.comparisons if one.metric == "ndcg@10"]
        return max(found, key=lambda one: one.other, default=None)
