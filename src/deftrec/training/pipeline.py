"""All stages in order: text vectors, collaborative encoder, joint model, collaborative prior; and the refit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deftrec.collaborative import CollaborativeVectors, LightGCN, spectral_vectors
from deftrec.config import Config
from deftrec.data import Cases, Fit, Interactions, Split, SplitName, make_split
from deftrec.data.words import item_texts, item_titles
from deftrec.diffusion import Sampling
from deftrec.ensemble import Model
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import mean_accuracy
from deftrec.hardware import training_dtype
from deftrec.incremental.warm_start import WarmStart
from deftrec.language.origin import Origin, check_origin, origin_in
from deftrec.language.sentences import sentence_vectors
from deftrec.language.weights import MINILM, model_folder, weights_identity
from deftrec.progress import Progress
from deftrec.retrieval import (
    LinearPrior,
    Retriever,
    TextMatch,
    generate_queries,
    generate_texts,
    trend_scores,
)
from deftrec.retrieval.choose import (
    USERS,
    AgainChoice,
    PriorChoice,
    TextChoice,
    choose_again,
    choose_prior,
    choose_text,
    choose_trend,
    fit_prior,
)
from deftrec.retrieval.ranks import target_ranks
from deftrec.retrieval.terms.cold_start_bonus import ColdStartSimulation, Exposure
from deftrec.run import Provenance
from deftrec.tokenizer import ItemFeatures
from deftrec.training.build import build_match, resolve
from deftrec.training.cache import SharedStages, StageResult
from deftrec.training.distributed import ALONE, Team
from deftrec.training.joint import JointTraining
from deftrec.training.log import TrainingLog
from deftrec.training.loop import Plan, Trained
from deftrec.training.pretrained import settle_base
from deftrec.training.stages import CollaborativeStage
from deftrec.training.trainer import Trainer

VALIDATION_SCORES = 2_000_000_000
"""Scores of one validation, users x items, at most: a minute of one core. Past it, a sample of the users is asked."""

NO_VALIDATION: dict[SplitName, str] = {
    "leave-one-out": "leave-one-out needs users with three interactions or more",
    "temporal": "nobody with a history took anything between the two cuts; set data.split to leave-one-out",
}
"""Why nobody has a validation target, by split."""

NO_PAIR: dict[SplitName, str] = {
    "leave-one-out": "leave-one-out needs a user with four interactions or more",
    "temporal": "nobody took two items before the first cut; set data.split to leave-one-out",
}
"""Why train has no item with a next one, by split."""


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
        again: what seen items get on top; None where they are not taken again, or not to be recommended.
        exposure: how far items that come later are raised; None where that was not asked for, or items have no words.
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
    again: AgainChoice | None
    exposure: Exposure | None
    fit: Fit
    collaborative: Trained | None
    joint: tuple[Trained, ...]
    validation: float
    seconds: dict[str, float]
    base: Origin | None = None
    sentences: Origin | None = None
    start: Provenance | None = None


@dataclass(frozen=True, eq=False)
class Settled:
    """What validation says of a model fitted on train, and chose for it: see `Fitted`."""

    validation: float
    text: TextChoice | None
    again: AgainChoice | None
    choice: PriorChoice | None
    prior: LinearPrior | None
    exposure: Exposure | None


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
        start: WarmStart | None = None,
        team: Team = ALONE,
    ) -> None:
        self.interactions, self.start, self.team = interactions, start, team
        self.shared = SharedStages(work / "stages" if shared is None and work is not None else shared)
        self.split: Split = make_split(interactions, config.data.split)
        resolved = resolve(config, interactions, self.split)
        self.config, self.base = team.broadcast(lambda: settle_base(resolved, work, resume))
        if start is not None:
            check_origin(start.base, self.base, "the run to start from")
            start.refuse_known_targets(interactions, self.split)
            if int(self.config.training.ensemble_size) > len(start.members):
                raise ConfigError(
                    f"training.ensemble_size is {self.config.training.ensemble_size} and the run to start from has "
                    f"{len(start.members)}: leave it, or train anew without --from"
                )
        self.device, self.progress, self.trainer = device, progress, Trainer(work, log, resume, progress)
        self.dtype = training_dtype(config.training.precision, device)
        if self.config.seen_last:
            progress.say(
                "retrieval.seen is keep and objective.mask_seen true, as where hardly anybody takes an item twice: "
                "items that a user had come last"
            )
        cases = self.split.cases("validation")
        if start is not None:
            everybody, cases = len(cases), start.unknown(interactions, cases)
            if len(cases) < everybody:
                progress.say(
                    f"{everybody - len(cases):,} of {everybody:,} validation targets are left out: the run to start "
                    "from was fitted on them"
                )
        self.validation = shuffled(cases, self.config.seed)
        asked = min(config.training.validation_users, VALIDATION_SCORES // interactions.n_items)
        self.validation = self.validation.head(max(1, asked))
        if not len(self.validation):
            raise DataError(
                f"{interactions.meta.name}: no user has a validation target; {NO_VALIDATION[self.split.name]}"
            )
        if self.split.training("train").lengths.max() < 2:
            raise DataError(
                f"{interactions.meta.name}: no user has two interactions in train, so no next item can be learnt; "
                f"{NO_PAIR[self.split.name]}"
            )
        self.sentences: Origin | None = None
        self.joint = JointTraining(
            interactions, self.split, self.config, self.validation, start, device, self.dtype, team, self.trainer
        )

    @property
    def seconds(self) -> dict[str, float]:
        """Of each stage, as far as it has come."""
        return self.trainer.seconds

    def run(self, refit: bool, on_train: Callable[[Fitted], None] | None = None) -> Fitted:
        """Fit on train, choosing epochs and prior on validation; with `refit`, once more on train + validation.

        Args:
            refit: whether to go on.
            on_train: called with what was fitted on train alone, before a refit takes its place.
        """
        timed, broadcast, members = self.trainer.timed, self.team.broadcast, self.joint.members
        text = self._text_vectors()
        match = self._match(text)
        collaborative, vectors = self.collaborative("train", None)
        model, features, joint = timed("joint", lambda: members("train", vectors, text, None))
        settled = timed("prior", lambda: broadcast(lambda: self._settle(model, features, match)))
        match = match if settled.text is not None and settled.text.weight else None

        def fitted(fit: Fit, prior: LinearPrior | None) -> Fitted:
            return Fitted(
                model=model.eval(),
                config=self.config,
                features=features,
                prior=prior,
                choice=settled.choice,
                match=match,
                text=settled.text,
                again=settled.again,
                exposure=settled.exposure,
                fit=fit,
                collaborative=collaborative,
                joint=joint,
                validation=settled.validation,
                seconds=self.seconds,
                base=self.base,
                sentences=self.sentences,
                start=None if self.start is None else self.start.provenance,
            )

        if not refit:
            return fitted("train", settled.prior)
        if on_train is not None:
            on_train(fitted("train", settled.prior))
        _, vectors = self.collaborative("train+validation", collaborative)
        model, features, _ = timed("refit joint", lambda: members("train+validation", vectors, text, joint))
        fit: Fit = "train+validation"
        return fitted(fit, timed("final prior", lambda: broadcast(lambda: self._final_prior(settled.choice, fit))))

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

        started = {}
        if self.start is not None:
            started = {"start": self.start.provenance.weights, "match": self.config.retrieval.text.match}
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
            "repeats": self.config.repeats,
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
        if options.encoder == "spectral":
            closed = spectral_vectors(sequences, n_items, options.dim, self.config.seed, self.device)
            return StageResult({"users": closed.users, "items": closed.items}, vars(Trained(0, None, [])))
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
        before = self.trainer.before
        trained = self.trainer.train(stage, plan)
        with torch.no_grad():
            vectors = module.propagate()
        # What nobody took has only its random start: to the tokenizer it is missing, like a new item's.
        taken = sequences.counts(n_items) > 0
        items = vectors.items.cpu() * torch.from_numpy(taken)[:, None]
        return StageResult({"users": vectors.users.cpu(), "items": items}, vars(trained), self.trainer.before - before)

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

    def _settle(self, model: Model, features: ItemFeatures, match: TextMatch | None) -> Settled:
        """NDCG@10 of the latent score on validation, how much words and a prior are added, and what later items get."""
        config, cases = self.config, self.validation
        exclude_seen = not config.repeats
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
        choice = prior = None
        if options.kind != "none":
            choice = choose_prior(options, training, retriever, queries, cases, exclude_seen, self.progress, texts)
            prior = self._final_prior(choice, "train")
            retriever = replace(retriever, prior=prior, weight=choice.weight, recency=choice.recency)
            choice = choose_trend(options, choice, training, retriever, queries, cases, exclude_seen, texts)
            trend = trend_scores(training, self.interactions.n_items, choice.popularity, choice.recent_popularity)
            retriever = replace(retriever, trend=trend)
        again = None
        if config.repeats:
            again = choose_again(config.retrieval.again, retriever, queries, cases, texts)
            retriever = replace(retriever, again=again.value)
        wordless = replace(retriever, match=None, text_weight=0.0)
        return Settled(value, words, again, choice, prior, self._exposure(model, features, wordless, queries))

    def _exposure(
        self, model: Model, features: ItemFeatures, retriever: Retriever, queries: torch.Tensor
    ) -> Exposure | None:
        """How far items that come later are raised; without the model's words, which the score may hold too."""
        config, cases = self.config, self.validation.head(USERS)
        if not config.retrieval.exposure:
            return None
        rehearsal = ColdStartSimulation.of(
            model, features, item_titles(self.interactions), retriever, cases, config.seed
        )
        if rehearsal is None:
            return None
        return rehearsal.choose(queries[: len(cases)], not config.repeats, config.retrieval.exposure)

    def _final_prior(self, choice: PriorChoice | None, fit: Fit) -> LinearPrior | None:
        if choice is None or not choice.weight:
            return None
        options, training = self.config.retrieval.prior, self.split.training(fit)
        return fit_prior(options, choice, training, self.interactions.n_items, self.device)

    def _stage(self, name: str, deciding: Mapping[str, Any], make: Callable[[], StageResult]) -> StageResult:
        """The result of a stage that other runs may have made."""
        where = {"data": self.interactions.fingerprint, "device": self.device.type}
        key = name.replace(" ", "-")
        result = self.team.broadcast(lambda: self.shared.get(key, {**where, **deciding}, make))
        self.seconds[name] = result.seconds
        return result


def shuffled(cases: Cases, seed: int) -> Cases:
    """The cases in random order, so that the first n are a fair sample."""
    return cases.select(np.random.default_rng(seed).permutation(len(cases)))
