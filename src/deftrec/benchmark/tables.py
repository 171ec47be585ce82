"""Results of a benchmark as `results.json` stores them: one file per table, one row per system and seed.

A table has one dataset, one split, one fit and one rule for seen items. Values of different tables are not comparable,
so no file and no plot holds two of them.
"""

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from deftrec.data.split import Fit, SplitName
from deftrec.evaluation.protocol import FitOrUnknown, Seen

DEFTREC = "deftrec"  # name of DeftRec with all terms of its score; a row `deftrec/TERM` ranks by one term alone

Role: TypeAlias = Literal["deftrec", "part", "peer"]


def role_of(name: str) -> Role:
    """Classify a system: DeftRec itself, a part of its score, or a peer."""
    if name == DEFTREC:
        return "deftrec"
    return "part" if name.startswith(f"{DEFTREC}/") else "peer"


def table_file(fit: Fit, seen: Seen, *, first: bool) -> str:
    """Name the file of a table: `results.json` for the first table of a benchmark."""
    return "results.json" if first else f"results-{'train' if fit == 'train' else 'refit'}-{seen}.json"


class Record(BaseModel, frozen=True, extra="forbid"):
    """Part of a JSON file; unknown keys are refused."""


class _Costs(Record):
    """Name and costs of a system.

    Attributes:
        name: name of the system.
        users_per_second: ranking speed for one table, 100 items per user, in memory; None if unknown.
        parameters: number of fitted numbers; None where the system has no such thing.
        budget_cut: whether the budget ended its search for settings, or a training, too early.
    """

    name: str
    users_per_second: float | None = None
    parameters: int | None = None
    budget_cut: bool = False


class SystemRecord(_Costs):
    """Facts about one system under one seed.

    Attributes:
        seed: seed of its training.
        settings: everything that decides the training, choices made on validation included.
        library: library that trained it, with its version.
        revision: git revision of the code that trained it; None outside a checkout.
        uncommitted: file beside the results with the uncommitted changes of that code; None if there were none.
    """

    seed: int
    settings: dict[str, Any]
    library: str
    revision: str | None = None
    uncommitted: str | None = None


class _Measured(Record):
    """Metrics of a system in one table.

    Attributes:
        fit, metrics, ci95: see `deftrec.evaluation.Result`. Rankings of unknown fit stand in every table.
        train_seconds: time from the interactions to a fitted model, choosing settings or epochs included; None if
            unknown.
    """

    fit: FitOrUnknown
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    train_seconds: float | None


class TableRow(SystemRecord, _Measured):
    """One system under one seed in one table; users without any recommendation, `users_missing`, count as misses."""

    users_missing: int


class SystemSummary(_Costs, _Measured):
    """One system over its seeds: means, the parameters of the first seed, and a cut under any seed.

    Attributes:
        role, seeds: its role in the comparison, and its measured seeds.
        spread: standard deviations of the metrics over seeds; empty with one seed.
        ci95: 95 % bootstrap intervals over users, each averaged over seeds, for NDCG@10 and HR@10.
    """

    role: Role
    seeds: tuple[int, ...]
    spread: dict[str, float]


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
        dataset, split, seen, fit: see `deftrec.evaluation.Result`, whose `protocol` is `split`; test is evaluated.
        models: one row per system and seed.
        revision, uncommitted, command, version: code and command that wrote the table (see `SystemRecord`).
        users, depth: number of evaluated users, and length of their lists.
        recipe: requested options of DeftRec, before `auto` is resolved and seeds are set.
        budget_minutes: see `deftrec.benchmark.BenchmarkRequest`.
        fingerprint: SHA-256 of the request: data, settings and versions.
        summaries: one row per system, best NDCG@10 first.
        comparisons: DeftRec against each peer, best peer first; empty without a measurement of DeftRec.
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
