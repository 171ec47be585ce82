"""Text for results, shared by the terminal, HTML and Markdown."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from deftrec.evaluation import Result


class HasMetrics(Protocol):
    """Metrics with 95 % intervals over users."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Means over users."""

    @property
    def ci95(self) -> Mapping[str, tuple[float, float]]:
        """95 % intervals over users."""


COLUMNS = ("hr@10", "ndcg@10", "hr@50", "mrr@100", "coverage@10")
LIST_COLUMNS = (
    *("graph_distance@10", "words_distance@10", "category_distance@10", "calibration_error@10", "gini@10"),
    "disliked@10",
)
WITH_INTERVAL = ("hr@10", "ndcg@10")
_NAMES = {"hr": "HR", "ndcg": "NDCG", "mrr": "MRR", "gini": "Gini"}


def columns_of(results: Sequence[HasMetrics], wanted: Sequence[str] = COLUMNS) -> list[str]:
    """Select the wanted metrics that all results have; results of older versions may lack some."""
    return [key for key in wanted if all(key in one.metrics for one in results)]


def metric_name(key: str) -> str:
    """Write a metric's key for readers: `ndcg@10` becomes `NDCG@10`."""
    name, at, cutoff = key.partition("@")
    return _NAMES.get(name, name.replace("_", " ")) + at + cutoff


def meaning(result: "Result") -> str:
    """Describe data, protocol and fit of a result in one line."""
    rules = rules_of(result.fit, result.seen)
    return f"{result.dataset}, {result.protocol} {result.split}: {result.users:,} users, every item ranked, {rules}"


def rules_of(fit: str, seen: str) -> str:
    """Describe the fit and the rule for seen items."""
    return f"seen items {'excluded' if seen == 'exclude' else 'kept'}, fitted on {fit}"


def with_interval(result: HasMetrics, key: str) -> tuple[str, str]:
    """Format a metric and its interval; the second text is empty where tables show no interval."""
    interval = ""
    if key in WITH_INTERVAL:
        low, high = result.ci95[key]
        interval = f"{low:.3f} to {high:.3f}"
    return f"{result.metrics[key]:.4f}", interval


def groups(results: Sequence["Result"]) -> list[list["Result"]]:
    """Group results that may share a table: equal dataset, split, protocol and fit. Test comes first."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for one in sorted(results, key=lambda result: result.split != "test"):
        found.setdefault((one.dataset, one.protocol, one.split, one.seen, one.fit), []).append(one)
    return list(found.values())


def count(number: int) -> str:
    """Format a large number with three digits and a unit."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 0.9995 * size:
            return f"{number / size:#.3g}".rstrip(".") + f" {unit}"
    return str(number)


def duration(seconds: float) -> str:
    """Format seconds as seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {rest} s"


def peer_said(line: str) -> str:
    """Rewrite a peer's line on a tried setting (`NAME: JSON`) as text; other lines stay unchanged."""
    name, _, said = line.partition(": ")
    try:
        tried = json.loads(said)
    except ValueError:
        return line
    ndcg = tried.pop("ndcg@10", None) if isinstance(tried, dict) else None
    if ndcg is None:
        return line
    settings = [f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in tried.items()]
    return f"{name}: {', '.join([*settings, f'validation NDCG@10 {ndcg:.4f}'])}"
