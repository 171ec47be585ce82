"""Result of the cold-start protocol, as it is written to disk."""

from pydantic import BaseModel, ConfigDict

from studies.comparison import Comparison, Ratio, SliceComparison

USERS_BAR, ITEMS_BAR, SEEN_BAR = 0.95, 3.0, 0.98


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Record):
    """One training without the held-out users and items, measured.

    Attributes:
        name: name of the masking.
        masking: `mask_features` and `drop_collaborative`, resolved.
        users: NDCG@10 of unseen users over that of seen users with equal history lengths.
        items_hr10, items_hr50, items_ndcg10: metrics of unseen items in the full catalogue, read by their text alone.
        items_ci95: 95 % interval of `items_hr50`.
        items_hr50_latent: HR@50 of unseen items by the latent term alone.
        seen_items: NDCG@10 of seen items, with the unseen ones in catalogue and histories.
        seen_items_alone: NDCG@10 of seen items before the unseen ones were added.
        seconds: seconds of training.
        epochs: epochs of the kept weights, by stage.
        bonus: score bonus of unseen items that validation chose; None: not recorded.
    """

    name: str
    masking: dict[str, float]
    users: Ratio
    items_hr10: float
    items_hr50: float
    items_ndcg10: float
    items_ci95: tuple[float, float]
    items_hr50_latent: float
    seen_items: float
    seen_items_alone: float
    seconds: float
    epochs: dict[str, int]
    bonus: float | None = None


class Baseline(_Record):
    """Content-kNN on the cases of unseen items: neighbours of the whole history's mean, or of the newest item."""

    name: str
    hr10: float
    hr50: float
    ndcg10: float


class Verdict(_Record):
    """One requirement of the protocol.

    Attributes:
        asked: description of the requirement.
        found: measured value.
        bar: smallest value that meets the requirement.
        holds: whether it is met.
    """

    asked: str
    found: float
    bar: float
    holds: bool


class ColdStartResult(_Record):
    """The whole result.

    Attributes:
        dataset, fingerprint: name and fingerprint of the whole data.
        seed: seed of the draw and of the trainings.
        held_users, held_items: number of users and items held out.
        questions: number of cases of each kind.
        rows: one row for each masking, the recipe first.
        baselines: content-kNN.
        reference: NDCG@10 of seen items by the recipe trained with all items.
        seen_items: NDCG@10 of seen items by the recipe over the reference.
        verdicts: requirements, checked for the recipe.
        comparisons: every masking compared with the recipe.
        slices: every masking compared with the recipe on groups of the cases.
    """

    dataset: str
    fingerprint: str
    seed: int
    held_users: int
    held_items: int
    questions: dict[str, int]
    rows: list[Row]
    baselines: list[Baseline]
    reference: float
    seen_items: Ratio
    verdicts: list[Verdict]
    comparisons: list[Comparison] = []
    slices: list[SliceComparison] = []


def verdicts(recipe: Row, baselines: list[Baseline], seen_items: Ratio) -> list[Verdict]:
    """Check the three requirements."""
    best = max(baseline.hr50 for baseline in baselines)
    times = recipe.items_hr50 / best if best else float("inf") if recipe.items_hr50 else 0.0
    found = (
        ("NDCG@10 of unseen users / seen users of equal history length", recipe.users.value, USERS_BAR),
        ("HR@50 of unseen items / content-kNN", min(times, 1e9), ITEMS_BAR),
        ("NDCG@10 of seen items / trained with all items", seen_items.value, SEEN_BAR),
    )
    return [Verdict(asked=asked, found=value, bar=bar, holds=value >= bar) for asked, value, bar in found]
