"""One evaluator for every system: what a number means is written beside it, so that unlike rows are never compared."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from deftrec.data.split import Part, SplitName
from deftrec.errors import DataError
from deftrec.evaluation.intervals import SAMPLES, bootstrap_interval
from deftrec.evaluation.metrics import CUTOFFS, TargetRanks, accuracy, coverage, novelty

Seen: TypeAlias = Literal["exclude", "keep"]
"""`exclude`: items of the history are never recommended, and a target among them is a miss. `keep`: every item is a
candidate."""


class Result(BaseModel):
    """Metrics of one system on one part of one dataset, with everything that decides what they mean.

    Attributes:
        name: the system.
        dataset: the data.
        protocol: how the data was split.
        split: which targets were asked for.
        seen: whether items of the history are candidates.
        fit: what the system was fitted on; `unknown` for rankings that came from elsewhere. Results with different
            fits are not comparable: fitting on validation items too is worth more than most models.
        users: how many users were asked.
        metrics: `hr@10`, `ndcg@10`, `recall@10`, `mrr`, `coverage@10`, `novelty@10`, ... Means over users; novelty over
            the users who got any recommendation (0 where nobody did).
        ci95: 95 % bootstrap intervals over users. Coverage is no mean over users, and has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dataset: str
    protocol: SplitName
    split: Part
    seen: Seen
    fit: Literal["train", "train+validation", "unknown"]
    users: int
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]

    def to_json_dict(self) -> dict[str, Any]:
        """The result as JSON holds it: intervals become lists of two."""
        return self.model_dump(mode="json")


def evaluate(
    ranks: TargetRanks,
    top_items: Tensor,
    popularity: Tensor,
    *,
    name: str,
    dataset: str,
    protocol: SplitName,
    split: Part,
    seen: Seen,
    fit: Literal["train", "train+validation", "unknown"],
    cutoffs: Sequence[int] = CUTOFFS,
    seed: int = 0,
    samples: int = SAMPLES,
) -> Result:
    """All metrics of one ranking of the whole catalogue; `accuracy(ranks)` gives the values of each user.

    Coverage and novelty are given for the cutoffs that `top_items` is wide enough for.

    Args:
        ranks: where each user's target stands. `N` users
        top_items: the recommended items, best first, -1 where a list has ended. `[N, K]`
        popularity: training interactions of each item of the catalogue. `[I]`
        name, dataset, protocol, split, seen, fit: see `Result`.
        cutoffs: list lengths.
        seed, samples: of the bootstrap.

    Raises:
        DataError: nobody was asked.
        ValueError: ranks and lists are of different users.
    """
    if len(ranks) == 0:
        raise DataError(
            f"{dataset}: no user has a {split} target under the {protocol} split, so nothing can be measured"
        )
    if len(ranks) != len(top_items):
        raise ValueError(f"ranks of {len(ranks)} users and lists of {len(top_items)}")
    per_user = accuracy(ranks, cutoffs)
    wide = [k for k in cutoffs if k <= top_items.shape[1]]
    for k in wide:
        bits = novelty(top_items, popularity, k)
        per_user[f"novelty@{k}"] = bits[~bits.isnan()] if not bits.isnan().all() else bits.new_zeros(1)
    metrics = {key: float(values.mean()) for key, values in per_user.items()}
    ci95 = {key: bootstrap_interval(values, seed=seed, samples=samples) for key, values in per_user.items()}
    metrics |= {f"coverage@{k}": coverage(top_items, len(popularity), k) for k in wide}
    return Result(
        name=name,
        dataset=dataset,
        protocol=protocol,
        split=split,
        seen=seen,
        fit=fit,
        users=len(ranks),
        metrics=metrics,
        ci95=ci95,
    )
