"""Results of a benchmark as `results.json` stores them: one file per table, one row per system and seed.

A table has one dataset, one split, one fit and one rule for seen items. Values of different tables are not comparable,
so no file and no plot holds two of them.
"""

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from deftrec.data.split import Fit, SplitName
from deftrec.evaluation.protocol import FitOrUnknown, Seen

DEFTREC = "deftrec"
"""Name of DeftRec with all terms of its score; a row `deftrec/TERM` ranks by one term alone."""

Role: TypeAlias = Literal["deftrec", "part", "peer"]


def role_of(name: str) -> Role:
    """Classify a system: DeftRec itself, a part of its score, or a peer."""
    if name == DEFTREC:
        return "deftrec"
    return "part" if name.startswith(f"{DEFTREC}/") else "peer"


def table_file(fit: Fit, seen: Seen, *, first: bool) -> str:
    """Name the file of a table: `results.json` for the first table of a benchmark."""
    return "results.json" if first else f"results-{'train' if fit == 'train' else 'refit'}-{seen}.json"


class Record(BaseModel):
    """Part of a JSON file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SystemRecord(Record):
    """Facts about one system under one seed.

    Attributes:
        name, seed: name of the system, and seed of its training.
        users_per_second: ranking speed for one table, 100 items per user, in memory; None if unknown.
        parameters: number of fitted numbers; None where the system has no such thing.
        settings: everything that decides the training, choices made on validation included.
        library: library that trained it, with its version.
        budget_cut: whether the budget ended its search for settings, or a training, too early.
        revision: git revision of the code that trained it; None outside a checkout.
        uncommitted: file beside the results with the uncommitted changes of that code; None if there were none.
    """

    name: str
    seed: int
    users_per_second: float | None
    parameters: int | None
    settings: dict[str, Any]
    library: str
    budget_cut: bool = False
    revision: str | None
    uncommitted: str | None = None


class TableRow(SystemRecord):
    """One system under one seed in one table.

    Attributes:
        fit, metrics, ci95: see `deftrec.evaluation.Result`. Rankings of unknown fit stand in every table.
        train_seconds: time from the interactions to a fitted model, choosing settings or epochs included; None if
            unknown.
        users_missing: number of evaluated users without any recommendation; each counts as a miss.
    """

    fit: FitOrUnknown
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    train_seconds: float | None
    users_missing: int


class SystemSummary(Record):
    """One system over its seeds; each user's metric is averaged over the seeds first.

    Attributes:
        name, role, fit: name of the system, its role in the comparison, and its fit.
        seeds: measured seeds.
        metrics: means over seeds.
        spread: standard deviations over seeds; empty with one seed.
        ci95: 95 % bootstrap intervals over users, for NDCG@10 and HR@10.
        train_seconds, users_per_second: means over seeds; None if unknown.
        parameters: parameters under the first seed.
        budget_cut: whether the budget ended its search, or a training, too early under any seed.
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
    fit: FitOrUnknown


class PeerComparison(Record):
    """DeftRec against one peer on the same users.

    Attributes:
        peer, metric: name of the other system, and compared metric.
        deftrec, other: means over users of the values averaged over seeds.
        difference: `deftrec` minus `other`.
        ci95: paired 95 % bootstrap interval of the difference.
        p: two-sided paired bootstrap p-value of "no difference", not corrected for the number of peers.
        ratio: `deftrec` over `other`; None where `other` is 0.
    """

    peer: str
    metric: str
    deftrec: float
    other: float
    difference: float
    ci95: tuple[float, float]
    p: float
    ratio: float | None


class SliceResult(Record):
    """Accuracy of each system for a group of the evaluated users (see `deftrec.benchmark.slices.UserSlice`).

    `metrics` holds NDCG@10 and HR@10 of each system, means over its seeds and these users.
    """

    by: str
    name: str
    users: int
    metrics: dict[str, dict[str, float]]


class Failure(Record):
    """A system that could not be measured, with the reason in one line."""

    name: str
    seed: int
    reason: str


class DataFacts(Record):
    """Size, SHA-256 (`Interactions.fingerprint`) and origin of the interactions."""

    users: int
    items: int
    interactions: int
    fingerprint: str
    source: str
    filters: dict[str, str]


class BenchmarkTable(Record):
    """One table of a benchmark, the content of `results.json`.

    Attributes:
        dataset: name of the data.
        split: kind of split; the test targets are evaluated.
        seen: rule for items of the history (see `deftrec.evaluation.Seen`).
        fit: part of the data that the systems were fitted on.
        models: one row per system and seed.
        machine: processor, memory and versions.
        revision, uncommitted: see `SystemRecord`, here of the code that wrote the table.
        command: command that wrote the table.
        version: version of deftrec.
        users: number of evaluated users.
        depth: length of the evaluated lists.
        data: facts about the interactions.
        recipe: requested options of DeftRec, before `auto` is resolved and seeds are set.
        budget_minutes: see `deftrec.benchmark.BenchmarkRequest`.
        fingerprint: SHA-256 of the request: data, settings and versions.
        summaries: one row per system, best NDCG@10 first.
        comparisons: DeftRec against each peer, best peer first; empty without a measurement of DeftRec.
        slices: accuracy by group of users.
        failures: systems that could not be measured.
    """

    dataset: str
    split: SplitName
    seen: Seen
    fit: Fit
    models: tuple[TableRow, ...]
    machine: dict[str, str]
    revision: str | None
    uncommitted: str | None = None
    command: str
    version: str
    users: int
    depth: int
    data: DataFacts
    recipe: dict[str, Any]
    budget_minutes: float | None
    fingerprint: str
    summaries: tuple[SystemSummary, ...]
    comparisons: tuple[PeerComparison, ...]
    slices: tuple[SliceResult, ...]
    failures: tuple[Failure, ...]

    def best_peer(self) -> PeerComparison | None:
        """Compare DeftRec with the peer of highest NDCG@10; None where either is missing."""
        return next((one for one in self.comparisons if one.metric == "ndcg@10"), None)
