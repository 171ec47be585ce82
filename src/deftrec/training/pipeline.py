"""All stages in order: text vectors, collaborative encoder, joint model, collaborative prior; and the refit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from deftrec.collaborative import CollaborativeVectors, LightGCN
from deftrec.config import Config
from deftrec.data import Cases, Fit, Interactions, Split, make_split
from deftrec.diffusion import Sampling
from deftrec.errors import DataError
from deftrec.hardware import training_dtype
from deftrec.language import build_language_model
from deftrec.language.sentences import sentence_vectors
from deftrec.language.weights import MINILM, model_folder
from deftrec.model import DeftRec
from deftrec.progress import Progress
from deftrec.recipe import adapt
from deftrec.retrieval import EasePrior, Retriever, generate_queries
from deftrec.tokenizer import ItemFeatures
from deftrec.training.batches import PackedBatches
from deftrec.training.checkpoint import load_tensors, save_tensors
from deftrec.training.fusion import PriorChoice, choose_prior
from deftrec.training.log import TrainingLog
from deftrec.training.loop import Plan, Trained, train
from deftrec.training.stages import CollaborativeStage, JointStage

T = TypeVar("T")

VALIDATION_SCORES = 2_000_000_000
"""Scores of one validation, users x items, at most: a minute of one core. Past it, a sample of the users is asked."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained DeftRec and how it came to be.

    Attributes:
        model: in evaluation mode.
        config: with every `auto` resolved.
        features: what the tokenizer started from.
        prior: None where there is none or validation chose weight 0.
        choice: settings of the prior; None where none was asked for.
        fit: what the weights were fitted on.
        collaborative, joint: the stages on train; the collaborative one is None without an encoder.
        seconds: of each stage.
    """

    model: DeftRec
    config: Config
    features: ItemFeatures
    prior: EasePrior | None
    choice: PriorChoice | None
    fit: Fit
    collaborative: Trained | None
    joint: Trained
    seconds: dict[str, float]


class Pipeline:
    """Trains every stage on one dataset.

    Args:
        interactions: the data.
        config: options, `auto` where the size of the data decides.
        work: folder for checkpoints and intermediate vectors; None keeps nothing.
        log: of losses and validations.
        resume: use what an interrupted run left in `work`.
        device: where to train.
        progress: who is told.
    """

    def __init__(
        self,
        interactions: Interactions,
        config: Config,
        *,
        work: Path | None,
        log: TrainingLog,
        resume: bool,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.interactions = interactions
        self.split: Split = make_split(interactions, config.data.split)
        self.config = resolve(config, interactions, self.split)
        self.work, self.log, self.resume, self.device, self.progress = work, log, resume, device, progress
        self.dtype = training_dtype(config.training.precision, device)
        self.validation = shuffled(self.split.cases("validation"), self.config.seed)
        asked = min(config.training.validation_users, VALIDATION_SCORES // interactions.n_items)
        self.validation = self.validation.head(max(1, asked))
        if not len(self.validation):
            raise DataError(
                f"{interactions.meta.name}: no user has a validation target; leave-one-out needs users with three "
                "interactions or more"
            )
        if self.split.training("train").lengths.max() < 2:
            raise DataError(
                f"{interactions.meta.name}: no user has two interactions in train, so no next item can be learnt; "
                "leave-one-out needs a user with four interactions or more"
            )
        self.seconds: dict[str, float] = {}

    def run(self, refit: bool, on_train: Callable[[Fitted], None] | None = None) -> Fitted:
        """Fit on train, choosing epochs and prior on validation; with `refit`, once more on train + validation.

        Args:
            refit: whether to go on.
            on_train: called with what was fitted on train alone, before a refit takes its place.
        """
        text = self._timed("text", self._text_vectors)
        collaborative, vectors = self._timed("collaborative", lambda: self.collaborative("train", None))
        model, features, joint = self._timed("joint", lambda: self._joint("train", vectors, text, None))
        choice = self._timed("prior", lambda: self._choose_prior(model))
        fit: Fit = "train"
        if refit:
            if on_train is not None:
                prior = self._final_prior(choice, fit)
                on_train(
                    Fitted(model.eval(), self.config, features, prior, choice, fit, collaborative, joint, self.seconds)
                )
            fit = "train+validation"
            _, vectors = self._timed("refit collaborative", lambda: self.collaborative(fit, collaborative))
            model, features, _ = self._timed("refit joint", lambda: self._joint(fit, vectors, text, joint))
        prior = self._final_prior(choice, fit)
        return Fitted(model.eval(), self.config, features, prior, choice, fit, collaborative, joint, self.seconds)

    # -- stages ------------------------------------------------------------------------------------------------

    def _text_vectors(self) -> torch.Tensor | None:
        options = self.config.text
        texts = item_texts(self.interactions)
        if options.encoder == "none" or not any(texts):
            return None
        file = None if self.work is None else self.work / "text.safetensors"
        if self.resume and file is not None and file.is_file():
            return load_tensors(file)["text"]
        folder = model_folder(options.model or MINILM)
        self.progress.begin("text", sum(1 for text in texts if text))
        vectors = sentence_vectors(
            texts,
            folder,
            max_tokens=options.max_tokens,
            device=self.device,
            dtype=self.dtype,
            on_batch=lambda n: self.progress.advance("text", n),
        )
        self.progress.end("text")
        if file is not None:
            save_tensors(file, {"text": vectors})
        return vectors

    def collaborative(self, fit: Fit, chosen: Trained | None) -> tuple[Trained | None, CollaborativeVectors | None]:
        """The collaborative encoder alone, and its vectors; for the epochs of `chosen`, or those validation chooses."""
        options = self.config.collaborative
        if options.encoder == "none":
            return None, None
        torch.manual_seed(self.config.seed)
        sequences, n_items = self.split.training(fit), self.interactions.n_items
        module = LightGCN(sequences, n_items, options.dim, options.layers, options.l2).to(self.device)
        name = "collaborative" if fit == "train" else "refit-collaborative"
        stage = CollaborativeStage(module, sequences, self.validation, n_items, self.config, name)
        plan = Plan(
            epochs=int(options.epochs),
            learning_rate=options.learning_rate,
            patience=options.patience,
            validate_every=5,
            dtype=torch.float32,
            stop_after=None if chosen is None else chosen.epochs,
            checkpoint_seconds=self.config.training.checkpoint_seconds,
        )
        trained = self._train(stage, plan)
        with torch.no_grad():
            vectors = module.propagate()
        # What nobody took has only its random start: to the tokenizer it is missing, like a new item's.
        taken = np.bincount(sequences.items, minlength=n_items) > 0
        items = vectors.items.cpu() * torch.from_numpy(taken)[:, None]
        return trained, CollaborativeVectors(vectors.users.cpu(), items)

    def _joint(
        self, fit: Fit, vectors: CollaborativeVectors | None, text: torch.Tensor | None, chosen: Trained | None
    ) -> tuple[DeftRec, ItemFeatures, Trained]:
        config, options = self.config, self.config.training
        if vectors is None and text is None:
            raise DataError(
                f"{self.interactions.meta.name}: its items have no text and collaborative.encoder is none, so nothing "
                "tells one item from another; set collaborative.encoder to lightgcn"
            )
        features = ItemFeatures.build(None if vectors is None else vectors.items, text)
        torch.manual_seed(config.seed)
        model = build_model(features, config, self.interactions.meta.domain).to(self.device)
        batches = PackedBatches(
            self.split.training(fit),
            self.interactions.n_items,
            window=int(config.data.window),
            batch_positions=int(options.batch_positions),
            targets=options.targets,
            objective=config.objective,
            seed=config.seed,
        )
        name = "joint" if fit == "train" else "refit-joint"
        stage = JointStage(model, batches, self.validation, config, self.dtype, name)
        plan = Plan(
            epochs=int(options.epochs),
            learning_rate=float(options.learning_rate),
            slow_factor=options.language_learning_rate_factor,
            patience=int(options.patience),
            dtype=self.dtype,
            stop_after=None if chosen is None else chosen.epochs,
            warmup_steps=options.warmup_steps,
            final_rate=options.final_rate,
            weight_decay=options.weight_decay,
            clip=options.clip,
            average=options.average,
            accumulation=options.accumulation,
            checkpoint_seconds=options.checkpoint_seconds,
        )
        return model, features, self._train(stage, plan)

    def _train(self, stage: CollaborativeStage | JointStage, plan: Plan) -> Trained:
        checkpoints = None if self.work is None else self.work / "checkpoints"
        return train(stage, plan, checkpoints=checkpoints, resume=self.resume, log=self.log, progress=self.progress)

    def _choose_prior(self, model: DeftRec) -> PriorChoice | None:
        config = self.config
        if config.retrieval.prior.kind == "none":
            return None
        catalogue = model.encode_catalogue()
        retriever = Retriever(catalogue.latents, config.retrieval.similarity, config.objective.temperature)
        queries = generate_queries(
            model,
            catalogue,
            self.validation.histories,
            window=int(config.data.window),
            sampling=Sampling.of(config.diffusion),
            seed=config.seed,
        )
        training = self.split.training("train")
        return choose_prior(config.retrieval.prior, training, retriever, queries, self.validation, self.progress)

    def _final_prior(self, choice: PriorChoice | None, fit: Fit) -> EasePrior | None:
        if choice is None or not choice.weight:
            return None
        options, regularisation = self.config.retrieval.prior, choice.regularisation
        return self._timed(
            "final prior",
            lambda: EasePrior.fit(
                self.split.training(fit),
                self.interactions.n_items,
                regularisation,
                options.neighbours,
                options.max_items,
            ),
        )

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - started, 3)
        return result


def resolve(config: Config, interactions: Interactions, split: Split) -> Config:
    """`config` with every `auto` resolved for the training part of `split`."""
    training = split.training("train")
    lengths = training.lengths
    return adapt(
        config,
        positions=int(np.maximum(lengths - 1, 0).sum()),
        interactions=len(training.items),
        users=int((lengths > 0).sum()),
        items=interactions.n_items,
    )


def build_model(features: ItemFeatures, config: Config, domain: str) -> DeftRec:
    """An untrained DeftRec for a catalogue."""
    length = int(config.data.window) * config.tokenizer.ways
    return DeftRec(features, build_language_model(config.language, domain=domain, length=length), config)


def item_texts(interactions: Interactions) -> list[str]:
    """Title, category and text of each item in one line; empty where there is nothing."""
    rows = interactions.catalogue.select("title", "category", "text").rows()
    return [". ".join(part.replace("|", ", ") for part in row if part) for row in rows]


def shuffled(cases: Cases, seed: int) -> Cases:
    """The cases in random order, so that the first n are a fair sample."""
    order = np.random.default_rng(seed).permutation(len(cases))
    return replace(
        cases, users=cases.users[order], histories=cases.histories.select(order), targets=cases.targets[order]
    )
