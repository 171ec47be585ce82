"""Trains without the held-out users and items, adds the items by their words alone, and asks."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from deftrec.training.build import resolve
from studies.cold_start.asking import ask, ask_parts, content_neighbours, of_equal_length, ratio
from studies.cold_start.holdout import Holdout
from studies.cold_start.result import Baseline, Compared, Row, UnseenResult, verdicts
from torch import Tensor

from deftrec.benchmark.machine import machine, versions
from deftrec.config import Config
from deftrec.data import Interactions, make_split
from deftrec.data.words import texts_of
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import bootstrap_interval
from deftrec.files import write_json
from deftrec.incremental import Overlay
from deftrec.pretrained_files.locate import MINILM, model_folder
from deftrec.progress import Progress
from deftrec.recommender import Recommender
from deftrec.run import git_revision
from deftrec.text.sentences import sentence_vectors
from deftrec.training.checkpoint import load_tensors, save_tensors

RECIPE = "recipe"
FULL = {"mask_features": 0.0, "drop_collaborative": 0.0, "drop_text": 0.0}
ROWS: dict[str, Mapping[str, float]] = {
    RECIPE: {},
    "features 0": FULL,
    "features 0.1": {**FULL, "mask_features": 0.1},
    "features 0.2": {**FULL, "mask_features": 0.2},
    "features 0.5": {**FULL, "mask_features": 0.5},
    "collaborative half 0.1": {**FULL, "drop_collaborative": 0.1},
    "collaborative half 0.5": {**FULL, "drop_collaborative": 0.5},
    "either half 0.3": {**FULL, "drop_collaborative": 0.3, "drop_text": 0.3},
}
"""What is masked in training: single features, or whole halves; each a row of the table."""


class UnseenStudy:
    """The protocol on one dataset.

    Args:
        holdout: what is held out, and asked.
        config: the recipe.
        rows: names of `ROWS`; the recipe is always among them.
        out: folder of results; finished trainings are kept in it, and an interrupted one is begun again.
        progress: who is told.
        device: where to train; None: the first GPU, else the CPU.

    Raises:
        ConfigError: an unknown row, or a recipe that has not both halves.
    """

    def __init__(
        self,
        holdout: Holdout,
        config: Config,
        rows: Sequence[str],
        out: Path,
        progress: Progress,
        device: torch.device | None = None,
    ) -> None:
        unknown = [name for name in rows if name not in ROWS]
        if unknown:
            raise ConfigError(f"no row {unknown[0]!r}; there are: {', '.join(ROWS)}")
        if config.text.model is None:
            raise ConfigError("unseen items are read by their words: set text.model to minilm")
        if config.collaborative.encoder == "none" and set(rows) - {RECIPE}:
            raise ConfigError("without a collaborative encoder there is nothing to mask: leave --rows at 'recipe'")
        if config.data.split != "leave-one-out":
            raise ConfigError("this protocol holds the last items out: leave data.split at leave-one-out")
        self.holdout, self.config, self.out, self.progress, self.device = holdout, config, out, progress, device
        self.rows = list(dict.fromkeys([RECIPE, *rows]))

    def run(self, command: str) -> UnseenResult:
        """Every row, the reference and the baselines, written to `results.json`."""
        held = self.holdout
        self._check_lengths()
        texts = self._texts()
        rows, values = [], Tensor()
        for number, name in enumerate(self.rows, start=1):
            self.progress.say(f"{number}/{len(self.rows) + 1} {name}")
            row, of_seen = self._row(name, texts)
            rows.append(row)
            values = of_seen if name == RECIPE else values
        self.progress.say(f"{len(self.rows) + 1}/{len(self.rows) + 1} trained with all items")
        reference = self._reference()
        seen_items = _compared(values, reference, paired=True)
        baselines = [
            _baseline(f"content-kNN, {called}", content_neighbours(texts, held.questions.unseen_items, newest))
            for called, newest in (("whole history", None), ("newest item", 1))
        ]
        result = UnseenResult(
            dataset=held.whole.meta.name,
            fingerprint=held.whole.fingerprint,
            command=command,
            seed=self.config.seed,
            held_users=int(held.users.sum()),
            held_items=int(held.items.sum()),
            questions={name: len(cases) for name, cases in vars(held.questions).items()},
            rows=rows,
            baselines=baselines,
            reference=float(reference.mean()),
            seen_items=seen_items,
            verdicts=verdicts(rows[0], baselines, seen_items),
            machine=machine(),
            revision=git_revision(),
        )
        write_json(self.out / "results.json", result.model_dump(mode="json"))
        return result

    def _check_lengths(self) -> None:
        """Refuse, before anything is trained, data in which nobody can be compared."""
        training, asked = self.holdout.training, self.holdout.questions
        max_history = int(resolve(self.config, training, make_split(training, self.config.data.split)).data.max_history)
        kept, _ = of_equal_length(asked.unseen_users, asked.seen_users, max_history)
        if not kept.any():
            raise DataError(
                f"{self.holdout.whole.meta.name}: too small for this protocol: no unseen user has a history as long as "
                "that of a seen one; give another --seed, or more data"
            )

    def _row(self, name: str, texts: Tensor) -> tuple[Row, Tensor]:
        """A training, measured, and the NDCG@10 of each question about seen items."""
        config = self._config(name)
        kept = self._kept("row", config, self.holdout.training)
        if not (kept / "row.json").is_file():
            recommender = self._trained(config, self.holdout.training)
            row, of_seen = self._measured(name, recommender, texts)
            save_tensors(kept / "seen.safetensors", {"ndcg@10": of_seen})
            write_json(kept / "row.json", row.model_dump(mode="json"))
        row = Row.model_validate_json((kept / "row.json").read_text(encoding="utf-8"))
        return row.model_copy(update={"name": name}), load_tensors(kept / "seen.safetensors")["ndcg@10"]

    def _measured(self, name: str, alone: Recommender, texts: Tensor) -> tuple[Row, Tensor]:
        held, asked = self.holdout, self.holdout.questions
        # The users are asked of the catalogue of training: unseen items are no matter to them.
        unseen, seen = (ask(alone, held.whole, cases)["ndcg@10"] for cases in (asked.unseen_users, asked.seen_users))
        kept, weights = of_equal_length(asked.unseen_users, asked.seen_users, alone.model.max_history)
        everything = with_items(alone, held, texts)
        items, latent = ask_parts(everything, held.whole, asked.unseen_items, ("hybrid", "latent"))
        of_seen = ask(everything, held.whole, asked.seen_items)["ndcg@10"]
        options = alone.config.tokenizer
        row = Row(
            name=name,
            masking={key: float(getattr(options, key)) for key in FULL},
            users=_compared(unseen[kept], seen, weights),
            items_hr10=float(items["hr@10"].mean()),
            items_hr50=float(items["hr@50"].mean()),
            items_ndcg10=float(items["ndcg@10"].mean()),
            items_ci95=bootstrap_interval(items["hr@50"]),
            items_hr50_latent=float(latent["hr@50"].mean()),
            seen_items=float(of_seen.mean()),
            seen_items_alone=float(ask(alone, held.whole, asked.seen_items)["ndcg@10"].mean()),
            seconds=sum(alone.run.info.seconds.values()),
            epochs=alone.run.info.epochs,
            bonus=0.0 if alone.run.info.exposure is None else alone.run.info.exposure.bonus,
        )
        return row, of_seen

    def _reference(self) -> Tensor:
        """NDCG@10 of each question about seen items, by the recipe trained with all items. `[N]`"""
        kept = self._kept("reference", self.config, self.holdout.reference) / "seen.safetensors"
        if not kept.is_file():
            recommender = self._trained(self.config, self.holdout.reference)
            values = ask(recommender, self.holdout.whole, self.holdout.questions.seen_items)["ndcg@10"]
            save_tensors(kept, {"ndcg@10": values})
        return load_tensors(kept)["ndcg@10"]

    def _trained(self, config: Config, interactions: Interactions) -> Recommender:
        return Recommender.fit(
            interactions, config, progress=self.progress, shared=self.out / "work" / "shared", device=self.device
        )

    def _config(self, name: str) -> Config:
        tokenizer = self.config.tokenizer.model_copy(update=dict(ROWS[name]))
        return self.config.model_copy(update={"tokenizer": tokenizer})

    def _kept(self, what: str, config: Config, interactions: Interactions) -> Path:
        """The folder of a finished training: of these options, data, questions and versions alone."""
        content: list[Any] = [what, config.model_dump(mode="json"), interactions.fingerprint, versions()]
        content.append(self.holdout.whole.fingerprint)
        return self.out / "work" / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def _texts(self) -> Tensor:
        """Sentence vectors of the whole catalogue, for the baselines and the items that are added. `[I, E]`"""
        options, catalogue = self.config.text, self.holdout.whole.catalogue
        self.progress.begin("texts of all items", catalogue.height)
        vectors = sentence_vectors(
            texts_of(catalogue),
            model_folder(options.model or MINILM),
            max_tokens=options.max_tokens,
            device=torch.device("cpu"),
            dtype=torch.float32,
            on_batch=lambda n: self.progress.advance("texts of all items", n),
        )
        self.progress.end("texts of all items")
        return vectors


def with_items(recommender: Recommender, holdout: Holdout, texts: Tensor) -> Recommender:
    """`recommender` with the items that were held out, by their words alone."""
    held = pl.Series(holdout.items)
    overlay = Overlay.empty(recommender.fitted_on).with_items(
        holdout.whole.catalogue.filter(held), texts[torch.from_numpy(holdout.items)]
    )
    return recommender.with_overlay(replace(overlay, version=1))


def _compared(first: Tensor, second: Tensor, weights: Tensor | None = None, paired: bool = False) -> Compared:
    return Compared(**asdict(ratio(first, second, weights, paired)))


def _baseline(name: str, values: Mapping[str, Tensor]) -> Baseline:
    means = {key: float(value.mean()) for key, value in values.items()}
    return Baseline(name=name, hr10=means["hr@10"], hr50=means["hr@50"], ndcg10=means["ndcg@10"])
