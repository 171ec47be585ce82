"""What the protocol found, as it is written to disk."""

from pydantic import BaseModel, ConfigDict

USERS_BAR, ITEMS_BAR, SEEN_BAR = 0.95, 3.0, 0.98


class Frozen(BaseModel):
    """Base: nothing changes, no key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Compared(Frozen):
    """One mean over another: both, their ratio with its 95 % interval, and over how many cases."""

    first: float
    second: float
    value: float
    ci95: tuple[float, float]
    cases: int


class Row(Frozen):
    """One training without the held-out users and items, measured.

    Attributes:
        name: of the masking.
        masking: `mask_features`, `drop_collaborative` and `drop_text`, as they were resolved.
        users: NDCG@10 of unseen users over that of seen users of equal history length.
        items_hr10, items_hr50, items_ndcg10: of unseen items in the full catalogue, by their words alone.
        items_ci95: of `items_hr50`.
        items_hr50_latent: the same by the latent score alone.
        seen_items: NDCG@10 of seen items, with the unseen ones in catalogue and histories.
        seen_items_alone: the same before they were added.
        seconds: of training.
        epochs: of the kept weights, by stage.
        bonus: what unseen items got on top, as validation allowed; None: not recorded.
    """

    name: str
    masking: dict[str, float]
    users: Compared
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


class Baseline(Frozen):
    """Content-kNN on the questions about unseen items: the mean of the whole history, or its newest item."""

    name: str
    hr10: float
    hr50: float
    ndcg10: float


class Verdict(Frozen):
    """One bar of the protocol: what was asked, what was found, whether it holds."""

    asked: str
    found: float
    bar: float
    holds: bool


class UnseenResult(Frozen):
    """Everything.

    Attributes:
        dataset, fingerprint: of the whole.
        command: that made it.
        seed: of the draw and the trainings.
        held_users, held_items: how many were held out.
        questions: how many cases of each kind.
        rows: the recipe first.
        baselines: content-kNN.
        reference: NDCG@10 of seen items by the recipe trained with all items.
        seen_items: the recipe's NDCG@10 of seen items over the reference's.
        verdicts: of the recipe.
        machine: that it ran on.
        revision: of the code that wrote this; None: not recorded.
    """

    dataset: str
    fingerprint: str
    command: str
    seed: int
    held_users: int
    held_items: int
    questions: dict[str, int]
    rows: list[Row]
    baselines: list[Baseline]
    reference: float
    seen_items: Compared
    verdicts: list[Verdict]
    machine: dict[str, str]
    revision: str | None = None


def verdicts(recipe: Row, baselines: list[Baseline], seen_items: Compared) -> list[Verdict]:
    """The three bars."""
    best = max(baseline.hr50 for baseline in baselines)
    times = recipe.items_hr50 / best if best else float("inf") if recipe.items_hr50 else 0.0
    found = (
        ("NDCG@10 of unseen users / seen users of equal history length", recipe.users.value, USERS_BAR),
        ("HR@50 of unseen items / content-kNN", min(times, 1e9), ITEMS_BAR),
        ("NDCG@10 of seen items / trained with all items", seen_items.value, SEEN_BAR),
    )
    return [Verdict(asked=asked, found=value, bar=bar, holds=value >= bar) for asked, value, bar in found]
