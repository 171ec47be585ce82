"""Evaluate any system under one protocol, and keep with each result the facts that make it comparable."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from pydantic import BaseModel
from torch import Tensor

from deftrec.data import Sequences
from deftrec.data.split import Fit, Part, SplitName
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation.diversity import ItemDescription, describe_lists, gini
from deftrec.evaluation.intervals import SAMPLES, bootstrap_interval
from deftrec.evaluation.metrics import CUTOFFS, MRR_CUTOFF, TargetRanks, accuracy, coverage, disliked_share, novelty
from deftrec.notebook import html_table

Seen: TypeAlias = Literal["exclude", "keep"]
"""`exclude`: items of the history are never recommended, and a target among them is a miss. `keep`: every item is a
candidate."""
Protocol: TypeAlias = SplitName | Literal["next interaction"]
"""Kind of split, or the next interaction of each user in other data."""
EvaluatedPart: TypeAlias = Part | Literal["given"]
"""Part of a split, or interactions given for the evaluation."""
FitOrUnknown: TypeAlias = Fit | Literal["unknown"]
"""Part of the data that a system was fitted on; `unknown` for rankings from a file."""


DISLIKED = 10  # length of the lists in which disliked items are counted
SHORT = ("hr@10", "ndcg@10", "mrr@100")  # metrics in the short form of a result


class Result(BaseModel, frozen=True, extra="forbid"):
    """Metrics of one system on one part of one dataset, with the facts that decide their meaning.

    Attributes:
        name, dataset: names of the system and of the data.
        protocol, split: kind of split, for example `leave-one-out`, and evaluated part (see `Protocol`).
        seen: rule for items of the history (see `Seen`).
        fit: part of the data that the system was fitted on (see `FitOrUnknown`). Results with different fits are not
            comparable: fitting on validation items too improves accuracy more than most models do.
        users: number of evaluated users.
        metrics: `hr@10`, `ndcg@10`, `recall@10`, `mrr@100`, `coverage@10`, `novelty@10`, ... Means over users; novelty
            over the users with at least one recommendation (0 where there is none). `gini@10`, the metrics of
            `describe_lists` where the items are described, and `disliked@10` where users are known to dislike items.
        ci95: 95 % bootstrap intervals over users, of accuracy and novelty.
    """

    name: str
    dataset: str
    protocol: Protocol
    split: EvaluatedPart
    seen: Seen
    fit: FitOrUnknown
    users: int
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]

    def to_json_dict(self) -> dict[str, Any]:
        """Convert to plain JSON values; an interval becomes a list of two numbers."""
        return self.model_dump(mode="json")

    def only(self, k: Sequence[int] | None = None, metrics: Sequence[str] | None = None) -> "Result":
        """The result with some metrics: those of the cutoffs `k` and of names such as `ndcg` or `ndcg@10`; None: all.

        `mrr` has the cutoff 100 only. Raises a `ConfigError` for a name that the result does not have.
        """
        keys = [key for key in self.metrics if k is None or int(key.partition("@")[2]) in {*k, MRR_CUTOFF}]
        names = dict.fromkeys([*(key.partition("@")[0] for key in keys), *keys])
        for name in metrics or ():
            if name not in names:
                known = ", ".join(one for one in names if "@" not in one)
                raise ConfigError(f"no metric {name!r}; there are {known}, each @K with K of k, or all: leave it out")
        kept = [key for key in keys if metrics is None or {key, key.partition("@")[0]} & {*metrics}]
        chosen = {key: self.metrics[key] for key in kept}
        ci95 = {key: self.ci95[key] for key in kept if key in self.ci95}
        return self.model_copy(update={"metrics": chosen, "ci95": ci95})

    def __repr__(self) -> str:
        shown = ", ".join(f"{key} {value:.4f}" for key, value in self.metrics.items() if key in SHORT)
        return f"Result({self.name} on {self.dataset}, {self.protocol} {self.split}, {self.users:,} users: {shown})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [
            (key, f"{value:.4f}", " to ".join(f"{end:.4f}" for end in self.ci95.get(key, ())))
            for key, value in self.metrics.items()
        ]
        caption = f"{self.name} on {self.dataset}, {self.protocol} {self.split}: {self.users:,} users"
        return html_table(rows, ("metric", "value", "95 % interval"), caption)


class Facts(TypedDict):
    """The facts of a `Result` that no metric is computed from."""

    name: str
    dataset: str
    protocol: Protocol
    split: EvaluatedPart
    seen: Seen
    fit: FitOrUnknown


def evaluate(
    ranks: TargetRanks,
    top_items: Tensor,
    popularity: Tensor,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    cutoffs: Sequence[int] = CUTOFFS,
    histories: Sequences | None = None,
    items: ItemDescription | None = None,
    disliked: Sequences | None = None,
    **facts: Unpack[Facts],
) -> Result:
    """Compute all metrics of one system; `accuracy(ranks)` gives the values of each user.

    Coverage and novelty are computed for the cutoffs that are no longer than the lists in `top_items`. Raises a
    `DataError` if no user has a target, and a `ValueError` if `ranks` and `top_items` have different numbers of users.

    Args:
        ranks: position of each user's target. `N` users
        top_items: recommended items, best first, -1 where a list has ended. `[N, K]`
        popularity: training interactions of each item of the catalogue. `[I]`
        seed, samples: seed and number of replicates of the bootstrap.
        cutoffs: list lengths of the metrics.
        histories, items: histories of the users and descriptions of the items, for `describe_lists`; None: left out.
        disliked: items that each user is known to dislike, for `disliked@10`; None: left out.
        facts: see `Result`.
    """
    if not len(ranks):
        missing = f"no user has a {facts['split']} target under the {facts['protocol']} split"
        raise DataError(f"{facts['dataset']}: {missing}; nothing can be measured")
    if len(ranks) != len(top_items):
        raise ValueError(f"ranks of {len(ranks)} users and lists of {len(top_items)}")
    per_user = accuracy(ranks, cutoffs)
    wide = [k for k in cutoffs if k <= top_items.shape[1]]
    for k in wide:
        bits = novelty(top_items, popularity, k)
        per_user[f"novelty@{k}"] = bits[~bits.isnan()] if not bits.isnan().all() else bits.new_zeros(1)
    if disliked is not None and (disliked.lengths > 0).any():
        per_user[f"disliked@{DISLIKED}"] = disliked_share(top_items, disliked, DISLIKED)
    metrics = {key: float(values.mean()) for key, values in per_user.items()}
    ci95 = {key: bootstrap_interval(values, seed=seed, samples=samples) for key, values in per_user.items()}
    metrics |= {f"coverage@{k}": coverage(top_items, len(popularity), k) for k in wide}
    metrics["gini@10"] = gini(top_items, len(popularity))
    if histories is not None and items is not None:
        metrics |= describe_lists(top_items, histories, items)
    return Result(users=len(ranks), metrics=metrics, ci95=ci95, **facts)
