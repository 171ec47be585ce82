"""Trains without the held-out users and items, adds the items by their text alone, and evaluates both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from deftrec.benchmark.slices import by_history, by_popularity
from deftrec.config import Config
from deftrec.data import Interactions, make_split
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import bootstrap_interval
from deftrec.incremental import Overlay
from deftrec.progress import Progress
from deftrec.recommender import Recommender
from deftrec.retrieval import ColdStartBonus
from deftrec.training.cache import StageResult
from deftrec.training.fit import resolve
from studies.cold_start.asking import ask, ask_parts, content_neighbours, of_equal_length
from studies.cold_start.holdout import Holdout
from studies.cold_start.result import Baseline, ColdStartResult, Row, verdicts
from studies.comparison import Comparison, SliceComparison, compare, compare_slices, mean_ratio
from studies.pretrained import require_text, text_vectors
from studies.results_cache import ResultKey, ResultsCache
from studies.training import trained_in

RECIPE = "recipe"
NONE = {"mask_features": 0.0, "drop_collaborative": 0.0}
ROWS: dict[str, Mapping[str, float]] = {
    RECIPE: {},
    "features 0": NONE,
    "features 0.1": {**NONE, "mask_features": 0.1},
    "features 0.2": {**NONE, "mask_features": 0.2},
    "features 0.5": {**NONE, "mask_features": 0.5},
    "collaborative half 0.1": {**NONE, "drop_collaborative": 0.1},
    "collaborative half 0.5": {**NONE, "drop_collaborative": 0.5},
}
"""Maskings of the training, by name: single features, or the whole collaborative half. Each is a row of the table."""

SEEN_ITEMS, UNSEEN_ITEMS, UNSEEN_USERS = "seen items", "unseen items", "unseen users"
METRICS = ("ndcg@10", "hr@10", "hr@50")


@dataclass(frozen=True, eq=False)
class MeasuredRow:
    """One training, measured; see `SeedResult`.

    Attributes:
        row: what is reported.
        seed: seed of the training.
        values: metric of every case, by kind of case and metric. Each `[N]` float64
    """

    row: Row
    seed: int
    values: dict[str, Tensor]

    @property
    def train_seconds(self) -> float:
        """Seconds of training."""
        return self.row.seconds


class ColdStartStudy:
    """The cold-start protocol on one dataset.

    Args:
        holdout: held-out users and items, and the evaluated cases.
        config: the recipe.
        rows: names of `ROWS`; the recipe is always measured.
        work: folder of finished results and of shared stage results.
        progress: receiver of progress.
        device: device of the trainings; None: the first GPU, else the CPU.

    Raises:
        ConfigError: an unknown row, or a recipe that lacks the collaborative or the text half of the features.
    """

    def __init__(
        self,
        holdout: Holdout,
        config: Config,
        rows: Sequence[str],
        work: Path,
        progress: Progress,
        device: torch.device | None = None,
    ) -> None:
        unknown = [name for name in rows if name not in ROWS]
        if unknown:
            raise ConfigError(f"no row {unknown[0]!r}; there are: {', '.join(ROWS)}")
        require_text(config)
        if config.collaborative.encoder == "none" and set(rows) - {RECIPE}:
            raise ConfigError("without a collaborative encoder there is nothing to mask: leave --rows at 'recipe'")
        if config.data.split != "leave-one-out":
            raise ConfigError("this protocol holds the last items out: leave data.split at leave-one-out")
        self.holdout, self.config, self.work, self.progress, self.device = holdout, config, work, progress, device
        self.cache = ResultsCache(work)
        self.rows = list(dict.fromkeys([RECIPE, *rows]))

    def run(self) -> ColdStartResult:
        """Measure every row, the reference and the baselines."""
        held = self.holdout
        self._check_lengths()
        texts = text_vectors(held.whole, self.config, self.progress)
        measured: dict[str, list[MeasuredRow]] = {}
        for number, name in enumerate(self.rows, start=1):
            self.progress.say(f"{number}/{len(self.rows) + 1} {name}")
            measured[name] = [self._row(name, texts)]
        self.progress.say(f"{len(self.rows) + 1}/{len(self.rows) + 1} trained with all items")
        reference = self._reference()
        [recipe] = measured[RECIPE]
        seen_items = mean_ratio(recipe.values[f"{SEEN_ITEMS} ndcg@10"], reference, paired=True)
        baselines = [
            _baseline(f"content-kNN, {called}", content_neighbours(texts, held.questions.unseen_items, newest))
            for called, newest in (("whole history", None), ("newest item", 1))
        ]
        comparisons, slices = self._compared(measured)
        return ColdStartResult(
            dataset=held.whole.meta.name,
            fingerprint=held.whole.fingerprint,
            seed=self.config.seed,
            held_users=int(held.users.sum()),
            held_items=int(held.items.sum()),
            questions={name: len(cases) for name, cases in vars(held.questions).items()},
            rows=[one.row for [one] in measured.values()],
            baselines=baselines,
            reference=float(reference.mean()),
            seen_items=seen_items,
            verdicts=verdicts(recipe.row, baselines, seen_items),
            comparisons=comparisons,
            slices=slices,
        )

    def _compared(self, measured: Mapping[str, list[MeasuredRow]]) -> tuple[list[Comparison], list[SliceComparison]]:
        """Every row against the recipe: on all cases, and on groups of the seen items' cases."""
        cases, reference = self.holdout.questions.seen_items, self.holdout.reference
        training = make_split(reference, self.config.data.split).training("train")
        counts = training.counts(reference.n_items)
        groups = [group for group in (*by_history(cases), *by_popularity(cases, counts)) if len(group.users)]
        kinds = (UNSEEN_ITEMS, UNSEEN_USERS, SEEN_ITEMS)
        slices = compare_slices(measured, RECIPE, groups, f"{SEEN_ITEMS} ndcg@10")
        return compare(measured, RECIPE, kinds, METRICS), slices

    def _check_lengths(self) -> None:
        """Refuse, before anything is trained, data in which no seen user can be compared with an unseen one."""
        training, cases = self.holdout.training, self.holdout.questions
        max_history = int(resolve(self.config, training, make_split(training, self.config.data.split)).data.max_history)
        kept, _ = of_equal_length(cases.unseen_users, cases.seen_users, max_history)
        if not kept.any():
            raise DataError(
                f"{self.holdout.whole.meta.name}: too small for this protocol: no unseen user has a history as long as "
                "that of a seen one; give another --seed, or more data"
            )

    def _row(self, name: str, texts: Tensor) -> MeasuredRow:
        """A row, measured or read."""
        tokenizer = self.config.tokenizer.model_copy(update=dict(ROWS[name]))
        config = self.config.model_copy(update={"tokenizer": tokenizer})
        key = self._key("cold start", config, self.holdout.training)
        found = self.cache.get(key, partial(self._measure, config, texts))
        return MeasuredRow(Row(name=name, **found.about), config.seed, found.tensors)

    def _measure(self, config: Config, texts: Tensor, folder: Path) -> StageResult:
        """Train without the held-out users and items, and evaluate."""
        held, cases = self.holdout, self.holdout.questions
        alone = self._trained(folder, config, held.training)
        # Users are evaluated on the catalogue of the training, before unseen items are added to it.
        unseen_users, seen_users = (ask(alone, held.whole, one) for one in (cases.unseen_users, cases.seen_users))
        kept, weights = of_equal_length(cases.unseen_users, cases.seen_users, alone.model.max_history)
        extended = with_items(alone, held, texts)
        items, latent = ask_parts(extended, held.whole, cases.unseen_items, ("hybrid", "latent"))
        seen_items = ask(extended, held.whole, cases.seen_items)
        bonus = extended.ranker.term_of(ColdStartBonus)
        about = {
            "masking": {key: float(getattr(alone.config.tokenizer, key)) for key in NONE},
            "users": mean_ratio(unseen_users["ndcg@10"][kept], seen_users["ndcg@10"], weights).model_dump(mode="json"),
            "items_hr10": float(items["hr@10"].mean()),
            "items_hr50": float(items["hr@50"].mean()),
            "items_ndcg10": float(items["ndcg@10"].mean()),
            "items_ci95": bootstrap_interval(items["hr@50"]),
            "items_hr50_latent": float(latent["hr@50"].mean()),
            "seen_items": float(seen_items["ndcg@10"].mean()),
            "seen_items_alone": float(ask(alone, held.whole, cases.seen_items)["ndcg@10"].mean()),
            "seconds": sum(alone.info.seconds.values()),
            "epochs": alone.info.epochs,
            "bonus": 0.0 if bonus is None else bonus.bonus,
        }
        kinds = {UNSEEN_ITEMS: items, UNSEEN_USERS: unseen_users, SEEN_ITEMS: seen_items}
        values = {f"{kind} {metric}": metrics[metric] for kind, metrics in kinds.items() for metric in METRICS}
        return StageResult(values, about)

    def _reference(self) -> Tensor:
        """NDCG@10 of each case of seen items, by the recipe trained with all items. `[N]`"""
        held = self.holdout

        def measure(folder: Path) -> StageResult:
            recommender = self._trained(folder, self.config, held.reference)
            return StageResult({"ndcg@10": ask(recommender, held.whole, held.questions.seen_items)["ndcg@10"]})

        key = self._key("cold start reference", self.config, held.reference)
        return self.cache.get(key, measure).tensors["ndcg@10"]

    def _trained(self, folder: Path, config: Config, interactions: Interactions) -> Recommender:
        return trained_in(
            folder, interactions, config, progress=self.progress, shared=self.work / "shared", device=self.device
        )

    def _key(self, study: str, config: Config, interactions: Interactions) -> ResultKey:
        return ResultKey.of(study, interactions.fingerprint, config, whole=self.holdout.whole.fingerprint)


def with_items(recommender: Recommender, holdout: Holdout, texts: Tensor) -> Recommender:
    """The recommender with the held-out items, added by their text alone."""
    held = pl.Series(holdout.items)
    overlay = Overlay.empty(recommender.fitted_on).with_items(
        holdout.whole.catalogue.filter(held), texts[torch.from_numpy(holdout.items)]
    )
    return recommender.with_overlay(replace(overlay, version=1))


def _baseline(name: str, values: Mapping[str, Tensor]) -> Baseline:
    hr10, hr50, ndcg10 = (float(values[metric].mean()) for metric in ("hr@10", "hr@50", "ndcg@10"))
    return Baseline(name=name, hr10=hr10, hr50=hr50, ndcg10=ndcg10)
