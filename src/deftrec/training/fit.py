"""A training, from the request to the run: every stage in order."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deftrec import recipe
from deftrec.attributes import AttributeEncoder, encode_attributes, fit_attributes
from deftrec.collaborative import CollaborativeVectors
from deftrec.config import Config, ReasonerOptions
from deftrec.data import Cases, Fit, Interactions, Split, SplitName, make_split
from deftrec.data.words import texts_of
from deftrec.diffusion import Sampling
from deftrec.ensemble import Model
from deftrec.errors import ConfigError, DataError
from deftrec.evaluation import mean_accuracy
from deftrec.hardware import training_dtype
from deftrec.incremental import Overlay, WarmStart, save_with_overlay
from deftrec.model import ItemLatents
from deftrec.pretrained_files.locate import model_folder, with_absolute_models
from deftrec.pretrained_files.origin import Origin, check_origin, origin_in
from deftrec.progress import Progress, Silent
from deftrec.reasoning import StoredReasoning
from deftrec.retrieval import Ranker, Validation, fit_ranker, generate_queries, latent_ranker, seen_rules, target_ranks
from deftrec.run import Request, Run, RunInfo, environment, git_revision, training_in
from deftrec.sizes import Sizes
from deftrec.tokenizer import ItemFeatures
from deftrec.training.cache import StageCache
from deftrec.training.checkpoint import TrainingState
from deftrec.training.distributed import Team
from deftrec.training.joint import JointTraining, member_name
from deftrec.training.loop import TrainingLog
from deftrec.training.reasoning import ReasonerTraining
from deftrec.training.stages import CollaborativeVectorsStage, TextStage
from deftrec.training.workspace import Workspace

VALIDATION_USERS = 50_000  # users of one validation, at most
VALIDATION_SCORES = 2_000_000_000
"""Scores of one validation, users x items, at most: a minute of one core. Past it, a sample of the users is drawn."""

NO_VALIDATION: dict[SplitName, str] = {
    "leave-one-out": "leave-one-out needs users with three interactions or more",
    "temporal": "nobody with a history has an interaction between the two cuts; set data.split to leave-one-out",
}
"""Reasons why nobody has a validation target, by split."""

ONE_PROCESS = "a reasoner is trained by one process: start one, or set reasoner to null"

NO_PAIR: dict[SplitName, str] = {
    "leave-one-out": "leave-one-out needs a user with four interactions or more",
    "temporal": "nobody has two interactions before the first cut; set data.split to leave-one-out",
}
"""Reasons why train has no item with a next one, by split."""


def fit_run(
    interactions: Interactions,
    config: Config,
    *,
    folder: Path | None,
    refit: bool,
    resume: bool,
    device: torch.device,
    progress: Progress | None,
    shared: Path | None,
    on_train: Callable[[Run], None] | None,
    start: WarmStart | None,
    overwrite: bool = False,
) -> Run:
    """Train every stage and save the run in `folder` (None: nothing is written); arguments as for `Recommender.fit`.

    With a run to start from, its changes after training join the data. Every process of a launch returns the same run;
    the main one reports progress.
    """
    if folder is None and (resume or overwrite):
        option = "`resume=True`" if resume else "`overwrite=True`"
        raise ConfigError(f"{option} needs the run directory: give `out=...`")
    config = with_absolute_models(config)
    data, overlay = interactions, None
    if start is not None:
        start.check_text_options(config)
        data = start.joined(interactions)
        overlay = start.removals(data)
    asked = config
    trained = () if start is None else tuple(start.run.config.data.kinds)
    config, data = recipe.with_events(asked, data, trained)
    provenance = None if start is None else start.provenance
    request = Request(config=asked, fingerprint=data.fingerprint, refit=refit, start=provenance)

    def train(space: Workspace) -> Run:
        items, events = data.n_items - interactions.n_items, data.n_interactions - interactions.n_interactions
        if items or events:
            added = f"{items:,} items and {events:,} interactions"
            space.progress.say(f"{added} that came to the run to start from are added")
        if config.data.kinds:
            named = ", ".join(f"{kind} {one.role}" for kind, one in config.data.kinds.items())
            space.progress.say(f"kinds of events: {named} (data.kinds changes a role)")
        return Training(data, config, device, space, start).run(refit, on_train)

    return _trained_in(folder, request, data, resume, overwrite, overlay, device, progress, shared, train)


def add_reasoner(
    small: Run,
    options: ReasonerOptions,
    *,
    folder: Path | None,
    resume: bool,
    device: torch.device,
    progress: Progress | None,
    overlay: Overlay | None = None,
    overwrite: bool = False,
) -> Run:
    """Train a reasoner beside the model of a finished run, and save both in `folder` (None: nothing is written).

    Nothing else is trained again, and the score keeps the terms and weights of that run; its `overlay` is saved too.
    Raises a `ConfigError` if the run has a reasoner already or was refitted, as validation could then choose nothing,
    and if its model is no nano.
    """
    if small.reasoning is not None:
        raise ConfigError("that run has a reasoner already; give one without, or recommend with it")
    if small.info.start is not None and small.info.start.fit != "train":
        raise ConfigError("that run continued from one that knows validation targets; train one from scratch")
    if small.info.fit != "train":
        raise ConfigError(
            "that run was fitted on train + validation, which a reasoner is chosen on; train without `refit=True`"
        )
    config = Config.model_validate({**small.config.model_dump(), "reasoner": options.model_dump()})
    config = with_absolute_models(config)
    interactions, split = small.interactions, make_split(small.interactions, config.data.split)
    provenance = WarmStart(small).provenance
    request = Request(config=config, fingerprint=interactions.fingerprint, refit=False, start=provenance)

    def train(space: Workspace) -> Run:
        if space.team.size > 1:
            raise ConfigError(ONE_PROCESS)
        cases = validation_cases(interactions, split, split.cases("validation"), config.seed)
        dtype = training_dtype(config.training.precision, device)
        training = ReasonerTraining(interactions, split, config, cases, device, dtype, space)
        reasoned = space.timed("reasoner", lambda: training.train(small.model, small.catalogue))
        update = {
            "epochs": small.info.epochs | {name: stage.best_epoch for name, stage in reasoned.stages.items()},
            "history": small.info.history | {name: stage.history for name, stage in reasoned.stages.items()},
            "seconds": small.info.seconds | space.seconds,
            "environment": environment(),
            "revision": git_revision(),
            "start": provenance,
            "reasoner": reasoned.info,
        }
        return replace(small, config=config, info=small.info.model_copy(update=update), reasoning=reasoned.reasoning)

    return _trained_in(folder, request, interactions, resume, overwrite, overlay, device, progress, None, train)


def _trained_in(
    folder: Path | None,
    request: Request,
    interactions: Interactions,
    resume: bool,
    overwrite: bool,
    overlay: Overlay | None,
    device: torch.device,
    progress: Progress | None,
    shared: Path | None,
    train: Callable[[Workspace], Run],
) -> Run:
    """The run that `train` makes in a workspace, saved in `folder` with an `overlay`."""
    team = Team.on(device)
    with ExitStack() as block:
        if folder is not None:
            team.broadcast(lambda: block.enter_context(training_in(folder, request, interactions, resume, overwrite)))
        log = block.enter_context(closing(TrainingLog(folder / "logs" if folder and team.is_main else None)))
        work = None if folder is None else folder / "work"
        cache = StageCache(work / "stages" if shared is None and work is not None else shared)
        listener = progress if progress is not None and team.is_main else Silent()
        run = train(Workspace(work, cache, log, resume, listener, team))
        if folder is not None:
            team.broadcast(lambda: save_with_overlay(folder, run, overlay))
            if team.is_main:
                shutil.rmtree(folder / "work", ignore_errors=True)
    return run


class Training:
    """All stages on one dataset, in order; with a run to continue from (`start`), no collaborative encoder is trained.

    Raises:
        ConfigError: the options do not suit the run to continue from.
        DataError: the data have no validation target or no pair of consecutive items.
    """

    def __init__(
        self,
        interactions: Interactions,
        config: Config,
        device: torch.device,
        space: Workspace,
        start: WarmStart | None = None,
    ) -> None:
        self.interactions, self.start, self.space, self.device = interactions, start, space, device
        self.split = split = make_split(interactions, config.data.split)
        resolved = resolve(config, interactions, split)
        self.config, self.base = space.team.broadcast(lambda: space.pin_base(resolved))
        if start is not None:
            check_origin(start.run.info.base, self.base, "the run to start from")
            start.refuse_known_targets(interactions, split)
            start.check_members(int(self.config.training.ensemble_size))
        self.dtype = training_dtype(config.training.precision, device)
        if self.config.seen_last:
            space.progress.say(
                "retrieval.seen is keep, and people hardly come back to items here: items of a user's history are "
                "ranked last"
            )
        self.validation = self._validation_cases()
        if not split.training("train").predictable().any():
            raise DataError(
                f"{interactions.meta.name}: no user has a target after another interaction in train, so no next item "
                f"can be learnt; {NO_PAIR[split.name]}"
            )
        self.joint = JointTraining(interactions, split, self.config, self.validation, start, device, self.dtype, space)
        self.reasoner: ReasonerTraining | None = None
        if self.config.reasoner is not None:
            if space.team.size > 1:
                raise ConfigError(ONE_PROCESS)
            if start is not None:
                raise ConfigError("a reasoner cannot continue from another run: train without `start=...`")
            self.reasoner = ReasonerTraining(
                interactions, split, self.config, self.validation, device, self.dtype, space
            )

    def run(self, refit: bool, on_train: Callable[[Run], None] | None = None) -> Run:
        """Fit on train, choosing epochs and score terms on validation; with `refit`, again on train + validation.

        `on_train` is called with the run fitted on train alone, before a refit replaces it.
        """
        space, joint = self.space, self.joint
        text = self.text_vectors()
        collaborative, vectors = self.collaborative_vectors("train", None)
        encoders = self.attribute_encoders()
        attributes = encode_attributes(encoders, self.interactions.catalogue) if encoders else None
        features = joint.features("train", vectors, text, attributes)
        model, members = space.timed("joint", lambda: joint.train("train", features, None))
        catalogue = model.eval().encode_catalogue()
        stages = {} if collaborative is None else {"collaborative": collaborative}
        stages |= {member_name("joint", number): stage for number, stage in enumerate(members)}
        reasoned = None
        if (reasoner := self.reasoner) is not None:
            reasoned = space.timed("reasoner", lambda: reasoner.train(model, catalogue))
        reasoning = None if reasoned is None else reasoned.reasoning
        if reasoned is not None:
            stages |= reasoned.stages
        ranker, terms, validation = space.on_main(
            "score terms", lambda: self.select(model, catalogue, features[0], reasoning)
        )
        info = RunInfo(
            dataset=self.interactions.meta.name,
            fingerprint=self.interactions.fingerprint,
            fit="train",
            collaborative_width=features[0].collaborative.stop - features[0].collaborative.start,
            text_width=features[0].text.stop - features[0].text.start,
            attributes=encoders,
            terms=terms,
            epochs={name: stage.best_epoch for name, stage in stages.items()},
            validation=validation,
            history={name: stage.history for name, stage in stages.items()},
            seconds=space.seconds,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            environment=environment(),
            revision=git_revision(),
            base=self.base,
            sentences=self.sentences,
            start=None if self.start is None else self.start.provenance,
            reasoner=None if reasoned is None else reasoned.info,
        )
        if not refit:
            return self._run(info, model, catalogue, features[0], ranker, reasoning)
        if on_train is not None:
            on_train(self._run(info, model, catalogue, features[0], ranker, reasoning))
        _, vectors = self.collaborative_vectors("train+validation", collaborative)
        features = joint.features("train+validation", vectors, text, attributes)
        model, _ = space.timed("refit-joint", lambda: joint.train("train+validation", features, members))
        training = self.split.training("train+validation")
        ranker = space.on_main("refit-score terms", lambda: ranker.refitted(training, self.device))
        catalogue = model.eval().encode_catalogue()
        if self.reasoner is not None and reasoned is not None:
            trainer, trained = self.reasoner, reasoned
            reasoning = space.timed("refit-reasoner", lambda: trainer.refit(trained, model, catalogue))
        info = info.model_copy(update={"fit": "train+validation", "seconds": dict(space.seconds)})
        return self._run(info, model, catalogue, features[0], ranker, reasoning)

    # -- stages ------------------------------------------------------------------------------------------------

    def text_vectors(self) -> torch.Tensor | None:
        """Sentence vectors of the items' text `[I, E]`; None without text."""
        texts = texts_of(self.interactions.catalogue)
        if self.sentences is None:
            return None
        about = self._about
        if self.start is not None:  # items of that run keep their vectors
            check_origin(self.start.run.info.sentences, self.sentences, "the run to start from", "text.model")
            new = self.start.places(self.interactions) < 0
            texts = [text if wanted else "" for text, wanted in zip(texts, new, strict=True)]
            about = {**about, "start": self.start.provenance.weights}
        options = self.config.text
        assert options.model is not None, "there is text"
        stage = TextStage(
            texts, model_folder(options.model), options, self.device, self.dtype, about, self.space.progress
        )
        return self.space.cached(stage).tensors["text"]

    def attribute_encoders(self) -> tuple[AttributeEncoder, ...]:
        """Encoders of the items' attributes: those of the run to start from, else fitted on the catalogue.

        Raises a `ConfigError` if the data lack an attribute of the run to start from.
        """
        attributes = self.interactions.attributes
        if self.start is None:
            return fit_attributes(attributes)
        encoders = self.start.run.info.attributes
        missing = [encoder.name for encoder in encoders if encoder.name not in attributes.columns]
        if missing:
            raise ConfigError(
                f"the run to start from reads the attribute {missing[0]!r}, which {self.interactions.meta.name} lacks: "
                "import the data with it, or train from scratch without `start=...`"
            )
        return encoders

    def collaborative_vectors(
        self, fit: Fit, chosen: TrainingState | None
    ) -> tuple[TrainingState | None, CollaborativeVectors | None]:
        """Collaborative vectors, for the epochs of `chosen` or those that validation chooses; None without encoder."""
        if self.config.collaborative.encoder == "none" or self.start is not None:
            return None, None
        training, n_items = self.split.training(fit).liked(), self.interactions.n_items
        stage = CollaborativeVectorsStage(
            training, fit, n_items, self.validation, self.config, chosen, self.device, self._about, self.space
        )
        result = self.space.cached(stage)
        return TrainingState(**result.about), CollaborativeVectors(**result.tensors)

    def select(
        self, model: Model, catalogue: ItemLatents, features: ItemFeatures, reasoning: StoredReasoning | None
    ) -> tuple[Ranker, dict[str, dict[str, Any]], float]:
        """Choose the terms of the score on validation: the ranker, their record, NDCG@10 of the latent score alone."""
        config, cases, training = self.config, self.validation, self.split.training("train")
        sampling = Sampling.of(config.diffusion)
        # Validation histories beyond the reasoner's largest number have no reasoning, here as in service.
        added = None if reasoning is None else reasoning.residuals(list(cases.histories), wait=False)
        queries = generate_queries(
            model, catalogue, cases.histories, sampling=sampling, seed=config.seed, residuals=added
        )
        rules = seen_rules(not config.repeats)  # items of the history are candidates where people come back to them
        ranks = target_ranks(latent_ranker(catalogue, config), queries, cases, rules)
        validation = Validation.of(cases, queries, rules, training)
        titles = self.interactions.titles
        ranker, terms = fit_ranker(model, catalogue, config, validation, features, titles, self.space.progress)
        return ranker.without("latent"), terms, mean_accuracy(ranks)["ndcg@10"]  # latents stay in this process

    # -- inside ------------------------------------------------------------------------------------------------

    @cached_property
    def sentences(self) -> Origin | None:
        """The sentence model that reads the items' text; None without text."""
        options = self.config.text
        if options.model is None or not any(texts_of(self.interactions.catalogue)):
            return None
        return origin_in(model_folder(options.model), options.model)

    @property
    def _about(self) -> dict[str, Any]:
        """The part of the key that all cached stages share."""
        return {"data": self.interactions.fingerprint, "device": self.device.type}

    def _validation_cases(self) -> Cases:
        """Validation cases in random order, as many as one validation evaluates."""
        interactions, cases = self.interactions, self.split.cases("validation")
        if self.start is not None:
            count, cases = len(cases), self.start.unknown(interactions, cases)
            if len(cases) < count:
                self.space.progress.say(
                    f"{count - len(cases):,} of {count:,} validation targets are left out: the run to start "
                    "from was fitted on them"
                )
        return validation_cases(interactions, self.split, cases, self.config.seed)

    def _run(
        self,
        info: RunInfo,
        model: Model,
        catalogue: ItemLatents,
        features: ItemFeatures,
        ranker: Ranker,
        reasoning: StoredReasoning | None,
    ) -> Run:
        """The run with the latents of `catalogue` in place of those that `ranker` was fitted with."""
        latent = latent_ranker(catalogue, self.config)
        whole = replace(latent, terms=(*latent.terms, *ranker.without("latent").terms))
        assert features.scaling is not None, "features of a training are scaled"
        return Run(self.interactions, self.config, info, model, catalogue, whole, features.scaling, reasoning)


def validation_cases(interactions: Interactions, split: Split, cases: Cases, seed: int) -> Cases:
    """Some of the validation `cases` in random order, as many as one validation evaluates.

    Raises a `DataError` if there are none.
    """
    if not len(cases):
        raise DataError(f"{interactions.meta.name}: no user has a validation target; {NO_VALIDATION[split.name]}")
    drawn = cases.select(np.random.default_rng(seed).permutation(len(cases)))
    return drawn.head(max(1, min(VALIDATION_USERS, VALIDATION_SCORES // interactions.n_items)))


def resolve(config: Config, interactions: Interactions, split: Split) -> Config:
    """`config` with every `auto` resolved for the training part of `split`."""
    training = split.training("train")
    lengths, n_items = training.lengths, interactions.n_items
    repeated = int(training.repeated(n_items).sum()) if config.retrieval.seen == "keep" else 0
    sizes = Sizes(
        positions=int(np.maximum(lengths - 1, 0).sum()),
        interactions=len(training.items),
        users=int((lengths > 0).sum()),
        items=n_items,
        repeated=repeated / max(1, len(training.items)),
    )
    return recipe.resolve(config, sizes)
