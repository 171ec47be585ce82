"""All stages in order: text vectors, collaborative encoder, joint model, collaborative prior; and the refit."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from deftrec.collaborative import CollaborativeVectors, LightGCN
from deftrec.config import Config
from deftrec.data import Cases, Fit, Interactions, Split, make_split
from deftrec.data.words import item_categories, item_texts, item_titles
from deftrec.diffusion import Sampling
from deftrec.ensemble import Ensemble, Model
from deftrec.errors import ConfigError, DataError
from deftrec.hardware import training_dtype
from deftrec.language import Preferences, PretrainedLanguageModel, build_language_model
from deftrec.language.origin import Origin, check_origin, origin_in
from deftrec.language.sentences import sentence_vectors
from deftrec.language.weights import MINILM, model_folder, weights_identity
from deftrec.model import DeftRec
from deftrec.progress import Progress
from deftrec.recipe import adapt
from deftrec.retrieval import (
    LinearPrior,
    OverlapMatch,
    Retriever,
    SentenceMatch,
    TextMatch,
    generate_queries,
    generate_texts,
)
from deftrec.tokenizer import ItemFeatures
from deftrec.training.base import settle_base
from deftrec.training.batches import PackedBatches
from deftrec.training.fusion import PriorChoice, TextChoice, choose_prior, choose_text, fit_prior
from deftrec.training.log import TrainingLog
from deftrec.training.loop import Plan, Stage, Trained, train
from deftrec.training.shared import SharedStages, StageResult
from deftrec.training.stages import CollaborativeStage, JointStage, TokenizerStage, mean_accuracy, target_ranks
from deftrec.training.start import Provenance, Start
from deftrec.training.team import ALONE, Team
from deftrec.training.words import WordsStage

T = TypeVar("T")

MEMBER_SEEDS = 1_000_003
"""Between the seeds of two members: far from those that anyone gives to two runs."""

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
        match: compares the model's words with each item's text; None where none was asked for or its weight is 0.
        text: the weight of that match; None where none was asked for.
        fit: what the weights were fitted on.
        collaborative, joint: the stages on train, the joint one of every member; the collaborative one is None without
            an encoder.
        validation: NDCG@10 of the joint stage on validation, latent score alone, fitted on train.
        seconds: of each stage.
        base: the pre-trained language model that was read; None where there is none.
        sentences: the sentence model that the items' text was read with; None where it was not.
        start: the run that it went on from; None where it began anew.
    """

    model: Model
    config: Config
    features: ItemFeatures
    prior: LinearPrior | None
    choice: PriorChoice | None
    match: TextMatch | None
    text: TextChoice | None
    fit: Fit
    collaborative: Trained | None
    joint: tuple[Trained, ...]
    validation: float
    seconds: dict[str, float]
    base: Origin | None = None
    sentences: Origin | None = None
    start: Provenance | None = None


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
        shared: folder of stage results that other runs may use too (`SharedStages`); None: `work` keeps them.
        start: a run to go on from, with fewer epochs at a lower rate; no collaborative encoder is trained then.
        team: processes that share the joint stages; text vectors, collaborative encoder, tokenizer alone and prior are
            the first one's work.
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
        shared: Path | None = None,
        start: Start | None = None,
        team: Team = ALONE,
    ) -> None:
        self.interactions, self.start, self.team = interactions, start, team
        self.shared = SharedStages(work / "stages" if shared is None and work is not None else shared)
        self.split: Split = make_split(interactions, config.data.split)
        resolved = resolve(config, interactions, self.split)
        self.config, self.base = team.told(lambda: settle_base(resolved, work, resume))
        if start is not None:
            check_origin(start.base, self.base, "the run to start from")
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
        self.sentences: Origin | None = None
        self.before = 0.0  # seconds of trainings that an interrupted run had begun

    def run(self, refit: bool, on_train: Callable[[Fitted], None] | None = None) -> Fitted:
        """Fit on train, choosing epochs and prior on validation; with `refit`, once more on train + validation.

        Args:
            refit: whether to go on.
            on_train: called with what was fitted on train alone, before a refit takes its place.
        """
        text = self._text_vectors()
        match = self._match(text)
        collaborative, vectors = self.collaborative("train", None)
        model, features, joint = self._timed("joint", lambda: self._members("train", vectors, text, None))
        validation, words, choice = self._timed("prior", lambda: self.team.told(lambda: self._validate(model, match)))
        match = match if words is not None and words.weight else None

        def fitted(fit: Fit) -> Fitted:
            return Fitted(
                model=model.eval(),
                config=self.config,
                features=features,
                prior=self.team.told(lambda: self._final_prior(choice, fit)),
                choice=choice,
                match=match,
                text=words,
                fit=fit,
                collaborative=collaborative,
                joint=joint,
                validation=validation,
                seconds=self.seconds,
                base=self.base,
                sentences=self.sentences,
                start=None if self.start is None else self.start.provenance,
            )

        if not refit:
            return fitted("train")
        if on_train is not None:
            on_train(fitted("train"))
        _, vectors = self.collaborative("train+validation", collaborative)
        model, features, _ = self._timed("refit joint", lambda: self._members("train+validation", vectors, text, joint))
        return fitted("train+validation")

    # -- stages ------------------------------------------------------------------------------------------------

    def _text_vectors(self) -> torch.Tensor | None:
        options = self.config.text
        texts = item_texts(self.interactions)
        if options.encoder == "none" or not any(texts):
            return None
        folder = model_folder(options.model or MINILM)
        self.sentences = origin_in(folder, options.model or MINILM)
        if self.start is not None:
            check_origin(self.start.sentences, self.sentences, "the run to start from", "text.model")
        if self.start is not None and self.config.retrieval.text.match != "sentence":  # items of the run keep theirs
            new = self.start.places(self.interactions) < 0
            texts = [text if wanted else "" for text, wanted in zip(texts, new, strict=True)]

        def make() -> StageResult:
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
            return StageResult({"text": vectors})

        started = {} if self.start is None else {"start": self.start.provenance.weights}
        deciding = {**started, "weights": weights_identity(folder), "dtype": str(self.dtype), **options.model_dump()}
        return self._stage("text", deciding, make).tensors["text"]

    def collaborative(self, fit: Fit, chosen: Trained | None) -> tuple[Trained | None, CollaborativeVectors | None]:
        """The collaborative encoder alone, and its vectors; for the epochs of `chosen`, or those validation chooses."""
        if self.config.collaborative.encoder == "none" or self.start is not None:
            return None, None
        deciding = {
            "split": self.config.data.split,
            "fit": fit,
            "seed": self.config.seed,
            "validation_users": len(self.validation),
            "epochs": None if chosen is None else chosen.epochs,
            **self.config.collaborative.model_dump(),
        }
        name = "collaborative" if fit == "train" else "refit collaborative"
        result = self._stage(name, deciding, lambda: self._train_collaborative(fit, chosen))
        vectors = CollaborativeVectors(result.tensors["users"], result.tensors["items"])
        return Trained(**result.about), vectors

    def _train_collaborative(self, fit: Fit, chosen: Trained | None) -> StageResult:
        options = self.config.collaborative
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
        before = self.before
        trained = self._train(stage, plan)
        with torch.no_grad():
            vectors = module.propagate()
        # What nobody took has only its random start: to the tokenizer it is missing, like a new item's.
        taken = np.bincount(sequences.items, minlength=n_items) > 0
        items = vectors.items.cpu() * torch.from_numpy(taken)[:, None]
        return StageResult({"users": vectors.users.cpu(), "items": items}, vars(trained), self.before - before)

    def _members(
        self,
        fit: Fit,
        vectors: CollaborativeVectors | None,
        text: torch.Tensor | None,
        chosen: tuple[Trained, ...] | None,
    ) -> tuple[Model, ItemFeatures, tuple[Trained, ...]]:
        """The joint stage of every member; `chosen` are those on train whose epochs a refit takes over."""
        if vectors is None and text is None and self.start is None:
            raise DataError(
                f"{self.interactions.meta.name}: its items have no text and collaborative.encoder is none, so nothing "
                "tells one item from another; set collaborative.encoder to lightgcn"
            )
        members = int(self.config.training.members)
        if self.start is None:
            features = [ItemFeatures.build(None if vectors is None else vectors.items, text)] * members
        else:
            sequences = self.split.training(fit)
            features = [self.start.features(n, self.interactions, sequences, text) for n in range(members)]
        trained = [
            self._joint(fit, features[member], member, None if chosen is None else chosen[member])
            for member in range(members)
        ]
        models, stages = zip(*trained, strict=True)
        return Ensemble(models) if members > 1 else models[0], features[0], stages

    def _joint(self, fit: Fit, features: ItemFeatures, member: int, chosen: Trained | None) -> tuple[DeftRec, Trained]:
        config, options = self.config, self.config.training
        seed = config.seed + MEMBER_SEEDS * member
        prefix, suffix = "" if fit == "train" else "refit-", f"-{member + 1}" if member else ""
        torch.manual_seed(seed)
        titles = item_titles(self.interactions)
        model = build_member(features, config, self.interactions.meta.domain, titles).to(self.device)
        model.diffusion.prepare(model.features)
        if self.start is not None:
            self.start.load_into(model, member)
            if config.tokenizer.training == "frozen":
                model.freeze_tokenizer()
        elif config.tokenizer.training == "frozen":
            name = prefix + "tokenizer" + suffix
            model.item_tokenizer.load_state_dict(self.team.told(lambda: self._train_tokenizer(model, seed, name)))
            model.freeze_tokenizer()
        preferences = self._preferences(model)
        if preferences is not None and preferences.options.alone_epochs and self.start is None:
            sequences, name = self.split.training(fit), prefix + "words" + suffix
            words = WordsStage(model, sequences, preferences, seed, name)
            model.load_state_dict(self.team.told(lambda: self._train_words(words)))
        batches = PackedBatches(
            self.split.training(fit),
            self.interactions.n_items,
            window=model.window,
            batch_positions=int(options.batch_positions),
            targets=options.targets,
            objective=config.objective,
            seed=seed,
            preferences=preferences,
        )
        stage = JointStage(model, batches, self.validation, config, self.dtype, prefix + "joint" + suffix, self.team)
        minutes = math.inf if options.minutes is None else options.minutes / int(options.members)
        fine = config.fine_tuning
        plan = Plan(
            epochs=int(options.epochs) if self.start is None else fine.epochs,
            learning_rate=float(options.learning_rate) * (1.0 if self.start is None else fine.learning_rate_factor),
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
            seconds=math.inf if chosen is not None else 60 * minutes,
            horizon=None if chosen is None else chosen.horizon,
        )
        return model, self._train(stage, plan, self.team)

    def _preferences(self, model: DeftRec) -> Preferences | None:
        """What the model learns to say; None where it learns no words."""
        language = model.language
        if model.reasoner is None or not isinstance(language, PretrainedLanguageModel):
            return None
        categories = item_categories(self.interactions)
        if not any(categories):
            raise DataError(
                f"{self.interactions.meta.name}: no item has a category, so there is no preference to put into words; "
                "set language.reasoning.weight to 0"
            )
        return Preferences(categories, language, model.reasoner.options)

    def _train_tokenizer(self, model: DeftRec, seed: int, name: str) -> dict[str, torch.Tensor]:
        """By its own losses alone; its weights."""
        options = self.config.tokenizer
        stage = TokenizerStage(model, seed, name)
        plan = Plan(
            epochs=options.alone_epochs,
            learning_rate=options.alone_learning_rate,
            patience=options.alone_epochs,
            dtype=self.dtype,
            stop_after=options.alone_epochs,
            final_rate=self.config.training.final_rate,
            clip=self.config.training.clip,
            checkpoint_seconds=self.config.training.checkpoint_seconds,
        )
        self._train(stage, plan)
        return model.item_tokenizer.state_dict()

    def _train_words(self, stage: WordsStage) -> dict[str, torch.Tensor]:
        """What tokens are called, before what comes next: the model's weights after it."""
        epochs, options = stage.preferences.options.alone_epochs, self.config.training
        plan = Plan(
            epochs=epochs,
            learning_rate=float(options.learning_rate),
            slow_factor=options.language_learning_rate_factor,
            patience=epochs,
            dtype=self.dtype,
            stop_after=epochs,
            warmup_steps=options.warmup_steps,
            final_rate=options.final_rate,
            weight_decay=options.weight_decay,
            clip=options.clip,
            checkpoint_seconds=options.checkpoint_seconds,
        )
        self._train(stage, plan)
        return stage.model.state_dict()

    def _train(self, stage: Stage, plan: Plan, team: Team = ALONE) -> Trained:
        checkpoints = None if self.work is None else self.work / "checkpoints"
        started = time.monotonic()
        trained = train(
            stage, plan, checkpoints=checkpoints, resume=self.resume, log=self.log, progress=self.progress, team=team
        )
        self.before += max(0.0, trained.seconds - (time.monotonic() - started))
        return trained

    def _match(self, text: torch.Tensor | None) -> TextMatch | None:
        """What compares the model's words with the items' texts.

        Raises:
            DataError: the items have no text.
        """
        kind = self.config.retrieval.text.match
        if kind == "none":
            return None
        texts = item_texts(self.interactions)
        if not any(texts):
            raise DataError(
                f"{self.interactions.meta.name}: its items have no text to match; set retrieval.text.match to none"
            )
        return build_match(self.config, texts, text)

    def _validate(self, model: Model, match: TextMatch | None) -> tuple[float, TextChoice | None, PriorChoice | None]:
        """NDCG@10 of the latent score on validation, and how much words and a prior are added to it."""
        config, cases = self.config, self.validation
        exclude_seen = config.retrieval.seen == "exclude"
        catalogue = model.encode_catalogue()
        retriever = Retriever.of(model, catalogue, config)
        sampling = Sampling.of(config.diffusion)
        queries = generate_queries(model, catalogue, cases.histories, sampling=sampling, seed=config.seed)
        value = mean_accuracy(target_ranks(retriever, queries, cases, exclude_seen))["ndcg@10"]
        words = texts = None
        if match is not None:
            texts = match.encode(generate_texts(model, catalogue, cases.histories))
            retriever = replace(retriever, match=match)
            words = choose_text(config.retrieval.text.weights, retriever, queries, texts, cases, exclude_seen)
            retriever = replace(retriever, text_weight=words.weight)
        options, training = config.retrieval.prior, self.split.training("train")
        if options.kind == "none":
            return value, words, None
        prior = choose_prior(options, training, retriever, queries, cases, exclude_seen, self.progress, texts)
        return value, words, prior

    def _final_prior(self, choice: PriorChoice | None, fit: Fit) -> LinearPrior | None:
        if choice is None or not choice.weight:
            return None
        options, training = self.config.retrieval.prior, self.split.training(fit)
        return self._timed("final prior", lambda: fit_prior(options, choice, training, self.interactions.n_items))

    def _stage(self, name: str, deciding: Mapping[str, Any], make: Callable[[], StageResult]) -> StageResult:
        """The result of a stage that other runs may have made."""
        where = {"data": self.interactions.fingerprint, "device": self.device.type}
        key = name.replace(" ", "-")
        result = self.team.told(lambda: self.shared.get(key, {**where, **deciding}, make))
        self.seconds[name] = result.seconds
        return result

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        started, before = time.monotonic(), self.before
        result = work()
        self.seconds[name] = round(time.monotonic() - started + self.before - before, 3)
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


def build_model(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> Model:
    """All members, untrained, for a catalogue."""
    members = [build_member(features, config, domain, titles) for _ in range(int(config.training.members))]
    return Ensemble(members) if len(members) > 1 else members[0]


def build_member(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> DeftRec:
    """An untrained DeftRec for a catalogue."""
    ways, window = config.tokenizer.ways, int(config.data.window)
    language = build_language_model(config.language, domain=domain, ways=ways, window=window, titles=titles)
    return DeftRec(features, language, config)


def build_match(config: Config, texts: list[str], vectors: torch.Tensor | None) -> TextMatch:
    """The text match that the options ask for.

    Args:
        texts: of every item.
        vectors: their sentence vectors, which `sentence` compares with. `[I, E]`

    Raises:
        ConfigError: there are no sentence vectors.
    """
    if config.retrieval.text.match == "overlap":
        return OverlapMatch(texts)
    if vectors is None:
        raise ConfigError("retrieval.text.match sentence compares sentence vectors: set text.encoder to minilm")
    return SentenceMatch(vectors, model_folder(config.text.model or MINILM), config.text.max_tokens)


def shuffled(cases: Cases, seed: int) -> Cases:
    """The cases in random order, so that the first n are a fair sample."""
    return cases.select(np.random.default_rng(seed).permutation(len(cases)))
