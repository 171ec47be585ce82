"""A finished training as it is saved, loaded and checked."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from deftrec.config import Config
from deftrec.data import Interactions, Sequences, make_split
from deftrec.data.download import sha256_of
from deftrec.data.kinds import with_roles
from deftrec.ensemble import Model, build_model, members_of
from deftrec.errors import DataError, DeftRecError, first_line
from deftrec.files import recover, write_text
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.model import ItemLatents
from deftrec.pretrained_files.origin import check_origin, origin_of
from deftrec.reasoning import Reasoner, ReasoningStore, Residual, StoredReasoning, build_reasoner
from deftrec.records import read_record
from deftrec.retrieval import Ranker, RequestTerm, latent_ranker
from deftrec.run.checksums import DATA, RECORDS, RESTORE, TENSORS, check_files, sealed
from deftrec.run.records import FORMAT, RunInfo
from deftrec.tensors import check_finite, load_sealed, load_tensors, save_sealed, save_tensors
from deftrec.tokenizer import ItemFeatures, Scaling

STORE = "reasoning.sqlite"  # name of the reasoning store in a run directory
REQUESTS = "requests.safetensors"  # name of the request term in a run directory


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Attributes:
        interactions: data of the training.
        config: options, resolved.
        info: record of the training.
        model: trained model, in evaluation mode.
        catalogue: tokens and latents of the items.
        ranker: retrieval score.
        scaling: scaling of the item features.
        reasoning: reasoner behind its store; None without one.
    """

    interactions: Interactions
    config: Config
    info: RunInfo
    model: Model
    catalogue: ItemLatents
    ranker: Ranker
    scaling: Scaling
    reasoning: StoredReasoning | None = None

    @cached_property
    def training(self) -> Sequences:
        """Interactions that the weights were fitted on."""
        return make_split(self.interactions, self.config.data.split).training(self.info.fit)


class SavedInfo(RunInfo):
    """A record as it is saved: `files` holds the SHA-256 of every file of the run by name."""

    files: dict[str, str]

    @property
    def info(self) -> RunInfo:
        """The record of the training alone."""
        return RunInfo(**{name: getattr(self, name) for name in RunInfo.model_fields})


def run_digest(folder: Path, *more: str) -> str:
    """SHA-256 over the record of a run, which holds its files' checksums, and over the files `more` that are there."""
    digest = hashlib.sha256()
    for name in ("run.json", *more):
        if (folder / name).is_file():
            digest.update(bytes.fromhex(sha256_of(folder / name)))
    return digest.hexdigest()


def save_run(folder: Path, run: Run) -> None:
    """Write weights and records; `run.json` is written last, with the checksums, and marks the run as complete.

    Raises a `DeftRecError` if a weight is not a finite number.
    """
    parts = {
        "model": stored_state(run.model),
        "ranker": run.ranker.state()[1],
        "scaling": {"mean": run.scaling.mean, "scale": run.scaling.scale},
    }
    if run.reasoning is not None:
        parts["reasoner"] = stored_state(run.reasoning.reasoner)
        parts["residual"] = run.reasoning.residual.state_dict()
    for name, tensors in parts.items():
        try:
            check_finite(tensors)
        except ValueError as error:
            message = f"{folder}: not saved, as {name} {error}; train with a lower `training.learning_rate=...`"
            raise DeftRecError(message) from error
        save_tensors(folder / f"{name}.safetensors", tensors)
    if run.reasoning is not None:
        run.reasoning.store.copy_to(folder / STORE)
    if (requests := run.ranker.term_of(RequestTerm)) is not None:
        save_requests(folder, requests)
    write_text(folder / "config.json", run.config.model_dump_json(indent=2) + "\n")
    record = sealed(folder, run.info.model_dump(mode="json"))
    write_text(folder / "run.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def save_requests(folder: Path, term: RequestTerm) -> None:
    """Write the request term of a run, in place of one that it has."""
    save_sealed(folder / REQUESTS, term.settings(), term.state_dict())


def _with_requests(ranker: Ranker, folder: Path, latents: Tensor) -> Ranker:
    """The ranker with the request term of a run, if there is one."""
    path = folder / REQUESTS
    if not path.is_file():
        return ranker
    mend = f"learn it again: deftrec requests {folder}"
    settings, tensors = load_sealed(path, mend)
    try:
        term = RequestTerm.restored(settings, tensors, latents)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DeftRecError(f"{path}: does not fit this run ({first_line(error)}); {mend}") from error
    return ranker.with_requests(term)


def load_run(folder: Path, device: torch.device) -> Run:
    """Read what `save_run` wrote.

    Raises the errors of `read_run`, or a `DeftRecError` if a file does not fit or the language model's weights changed.
    """
    interactions, config, saved = _read_run(folder)
    check_files(folder, saved.files, ("request.json", *TENSORS))
    info = saved.info
    features = ItemFeatures.of_widths(torch.zeros(interactions.n_items, sum(info.widths)), *info.widths)
    if info.base is not None:
        check_origin(info.base, origin_of(config.language), str(folder))
    model = build_model(features, config, interactions.meta.domain, interactions.titles)
    path = folder / "model.safetensors"
    try:
        load_stored_state(model, load_tensors(path))
    except (RuntimeError, ValueError) as error:
        raise DeftRecError(f"{path}: does not fit config.json ({first_line(error)}); train the run again") from error
    model = model.eval().to(device)
    catalogue = model.encode_catalogue()
    active = {
        name: {key: value for key, value in values.items() if key != "active"}
        for name, values in info.terms.items()
        if values.get("active", True)
    }
    tensors = load_tensors(folder / "ranker.safetensors")
    try:
        ranker = latent_ranker(catalogue, config).with_state(active, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DeftRecError(f"{folder / 'ranker.safetensors'}: does not fit run.json ({error}); train again") from error
    ranker = _with_requests(ranker, folder, ranker.latent.latents)
    scaling = Scaling(**load_tensors(folder / "scaling.safetensors"))
    reasoning = None if info.reasoner is None else _load_reasoning(folder, interactions, config, info, model)
    return Run(interactions, config, info, model, catalogue, ranker, scaling, reasoning)


def _load_reasoning(
    folder: Path, interactions: Interactions, config: Config, info: RunInfo, model: Model
) -> StoredReasoning:
    """The reasoner of a run behind its store; its language model is read when it is first needed."""
    folder = folder.absolute()  # the process may be elsewhere then
    first, options, record = members_of(model)[0], config.reasoner, info.reasoner
    assert options is not None, "the run has a reasoner"
    assert record is not None, "the run has a reasoner"
    features = first.features.values.detach()

    def read() -> Reasoner:
        check_origin(record.base, origin_of(options.language), str(folder), "reasoner.model")
        reasoner = build_reasoner(features, first.item_tokenizer.masking.block, config.tokenizer, options, interactions)
        path = folder / "reasoner.safetensors"
        try:
            load_stored_state(reasoner, load_tensors(path))
        except (RuntimeError, ValueError) as error:
            message = f"{path}: does not fit config.json ({first_line(error)}); train the run again"
            raise DeftRecError(message) from error
        return reasoner.eval().to(features.device)

    tensors = load_tensors(folder / "residual.safetensors")
    residual = Residual(len(tensors["history.mean"]), len(members_of(model)), first.language.width)
    residual.load_state_dict(tensors)
    store = ReasoningStore(folder / STORE, record.identity)
    return StoredReasoning(read, residual.to(features.device), store, options.history, interactions.n_items)


def read_run(folder: Path) -> tuple[Interactions, Config, RunInfo]:
    """Read a run without its weights.

    Raises a `DeftRecError` if the folder holds no complete run, or a file is damaged or belongs to other data.
    """
    interactions, config, saved = _read_run(folder)
    return interactions, config, saved.info


def read_records(folder: Path) -> tuple[Config, RunInfo]:
    """Read the options and the record of a complete run.

    Raises a `DeftRecError` if the folder holds no complete run, the run has another format, or a file is missing or
    damaged.
    """
    config, saved = _read_records(folder)
    return config, saved.info


def _read_run(folder: Path) -> tuple[Interactions, Config, SavedInfo]:
    config, saved = _read_records(folder)
    check_files(folder, saved.files, DATA)
    try:
        interactions = Interactions.load(folder / "data")
    except DataError as error:
        reason = str(error).partition(";")[0]
        raise DeftRecError(f"{reason}; the run cannot do without it: {RESTORE}") from error
    if interactions.fingerprint != saved.fingerprint:
        raise DeftRecError(f"{folder / 'data'}: not the data this run was trained on; {RESTORE}")
    return with_roles(interactions, config.data.roles), config, saved


def _read_records(folder: Path) -> tuple[Config, SavedInfo]:
    if not (recover(folder) / "run.json").is_file():
        if (folder / "request.json").is_file():
            raise DeftRecError(f"{folder}: training was not finished; finish it first, with `resume=True`")
        raise DeftRecError(f"{folder}: no run.json; give the directory of a run, which training wrote to `out=...`")
    found = FORMAT
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):  # damaged, which reading it reports
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))["format"]
    if found != FORMAT:
        raise DeftRecError(
            f"{folder}: a run of format {found}, and this version reads format {FORMAT}; train it again on its data, "
            f"which are in {folder / 'data'}"
        )
    saved = read_record(folder / "run.json", SavedInfo, RESTORE)
    config = read_record(folder / "config.json", Config, RESTORE)
    check_files(folder, saved.files, RECORDS)
    return config, saved
