"""A finished training and its directory: what it takes to load a run, to check it and to repeat it.

config.json          options, resolved
request.json         options as requested, data fingerprint, whether a refit was requested
run.json             record: fit, epochs, seconds, score terms, environment, git revision; written last
scaling.safetensors  scaling of the item features, also of items added after training
model.safetensors    trained weights; weights of a pre-trained model that were not trained stay in its own files
ranker.safetensors   tensors of the score terms
reasoner.safetensors trained weights of a reasoner
residual.safetensors what its states add to the conditions
reasoning.sqlite     its states and statements, as far as they were made
requests.safetensors the score term of requests in words, learnt after the training
data/                the interactions, in the canonical form
logs/                JSON lines and TensorBoard events
work/                checkpoints during training
overlay.safetensors  items, events and removals after training (`deftrec.incremental`)
"""

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from deftrec.config import Config
from deftrec.data import Fit, Interactions, Sequences, make_split
from deftrec.data.download import sha256_of
from deftrec.ensemble import Model, build_model, members_of
from deftrec.errors import DataError, DeftRecError, first_line
from deftrec.files import locked, printable, write_text
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.model import ItemLatents
from deftrec.pretrained_files.origin import Origin, check_origin, origin_of
from deftrec.reasoning import Reasoner, ReasoningStore, Residual, StoredReasoning, build_reasoner
from deftrec.retrieval import Ranker, RequestTerm, latent_ranker
from deftrec.tensors import load_tensors, save_tensors
from deftrec.tokenizer import ItemFeatures, Scaling

PACKAGE = Path(__file__).resolve().parent

FORMAT: Literal[2] = 2  # format of the run directory

STORE = "reasoning.sqlite"  # name of the reasoning store in a run directory
REQUESTS = "requests.safetensors"  # name of the request term in a run directory

LEFTOVERS = (".request.json.*.tmp", ".data.*.tmp", ".data.*.old")
"""Files of a process that was killed before there was a run."""

M = TypeVar("M", bound=BaseModel)


class FittedOn(BaseModel, frozen=True, extra="forbid"):
    """Data and duration of a training.

    Attributes:
        dataset, fingerprint: name of the data, and fingerprint of its interactions.
        fit: interactions that the weights were fitted on.
        epochs: epochs of the kept weights, by stage.
    """

    dataset: str
    fingerprint: str
    fit: Fit
    epochs: dict[str, int]


class Provenance(FittedOn):
    """Identity of the run whose weights training continued from, with the SHA-256 over these `weights`."""

    weights: str


class Request(BaseModel, frozen=True, extra="forbid"):
    """The request of a training; an interrupted run is resumed by the same request only."""

    config: Config
    fingerprint: str
    refit: bool
    start: Provenance | None = None


class ReasonerInfo(BaseModel, frozen=True, extra="forbid"):
    """Record of a reasoner.

    Attributes:
        base: its pre-trained language model.
        identity: key of its statements in the store.
        validation: NDCG@10 of the latent score on the validation users read, without a residual (`none`) and after each
            of its stages; the statements' stage has fewer users.
    """

    base: Origin
    identity: str
    validation: dict[str, float]


class RunInfo(FittedOn):
    """Record of a finished training.

    Attributes:
        format: format of the directory.
        collaborative_width, text_width: columns of the two blocks of item features.
        terms: settings of every fitted score term by name, and `active`: whether validation gave it a weight.
        validation: NDCG@10 of the joint stage on validation, latent score alone.
        history: losses and validation metrics, by stage and epoch.
        seconds: seconds by stage, over all resumptions.
        environment: versions and machine.
        revision: git revision of the code, if it ran from a checkout.
        base: pre-trained language model whose unchanged weights are not in the directory; None without one.
        sentences: sentence model that read the items' text; None where no text was read.
        start: run whose weights training continued from; None for a training from scratch.
        reasoner: record of the reasoner; None without one.
    """

    format: Literal[2] = FORMAT
    collaborative_width: int
    text_width: int
    terms: dict[str, dict[str, Any]]
    validation: float
    history: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]
    parameters: int
    environment: dict[str, str]
    revision: str | None
    base: Origin | None = None
    sentences: Origin | None = None
    start: Provenance | None = None
    reasoner: ReasonerInfo | None = None


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


@contextmanager
def training_in(folder: Path, request: Request, interactions: Interactions, resume: bool) -> Iterator[None]:
    """Call `begin_run` and lock `folder`, where it can be locked, against other trainings inside the block.

    A beginning that fails before a stage has written anything is undone. Raises a `DeftRecError` if another process
    trains there, and the errors of `begin_run`.
    """
    if printable(str(folder)) != str(folder):
        raise DeftRecError(f"{printable(str(folder))}: not a name in UTF-8, which other libraries need; give another")
    made = not resume and not folder.exists()
    if made:
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder, wait=False, needed=False))
        except FileNotFoundError:  # nothing to resume, which `begin_run` says
            pass
        except BlockingIOError:
            raise DeftRecError(f"{folder} is being trained by another process; wait for it, or end it") from None
        begin_run(folder, request, interactions, resume)
        try:
            yield
        except Exception:
            if not resume and not any(folder.rglob("*.safetensors")):
                for name in ("work", "logs", "data"):
                    shutil.rmtree(folder / name, ignore_errors=True)
                (folder / "request.json").unlink(missing_ok=True)
                if made:
                    with suppress(OSError):  # another program has put something else there
                        folder.rmdir()
            raise


def begin_run(folder: Path, request: Request, interactions: Interactions, resume: bool) -> None:
    """Make a run directory, or, to `resume`, check that it holds the beginning of the same run.

    The request is written first: from then on a killed training can be resumed, and incomplete data are written again.
    Raises a `DeftRecError` if it is not empty, or holds another run or nothing that could be resumed.
    """
    leftovers = {one for name in LEFTOVERS for one in folder.glob(name)}
    if resume:
        if not (folder / "request.json").is_file():
            raise DeftRecError(f"{folder}: nothing to resume; train without --resume")
        if (folder / "run.json").is_file():
            raise DeftRecError(f"{folder}: this run is complete; there is nothing to resume")
        before = read_model(folder / "request.json", Request)
        if before.fingerprint != request.fingerprint:
            raise DeftRecError(f"{folder}: was begun on other data; resume it with the same --data")
        if before != request:
            raise DeftRecError(
                f"{folder}: was begun with other options; resume it with the same recipe, --from, --set and --refit"
            )
    else:
        if folder.exists() and (not folder.is_dir() or set(folder.iterdir()) - leftovers):
            raise DeftRecError(f"{folder}: not empty; give another directory, or --resume an interrupted run")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "request.json", request.model_dump_json(indent=2) + "\n")
    for one in leftovers:
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    if not resume or not _holds(folder / "data", request.fingerprint):
        interactions.save(folder / "data")


def _holds(data: Path, fingerprint: str) -> bool:
    try:
        return Interactions.load(data).fingerprint == fingerprint
    except DataError:
        return False


def run_digest(folder: Path, *more: str) -> str:
    """SHA-256 over the record of a run, its weights and the files `more`; missing files are left out."""
    about = folder / "run.json"
    digest = hashlib.sha256(about.read_bytes() if about.is_file() else b"")
    for name in ("model.safetensors", *more):
        if (folder / name).is_file():
            digest.update(bytes.fromhex(sha256_of(folder / name)))
    return digest.hexdigest()


def save_run(folder: Path, run: Run) -> None:
    """Write weights and records; `run.json` is written last and marks the run as complete."""
    save_tensors(folder / "model.safetensors", stored_state(run.model))
    save_tensors(folder / "ranker.safetensors", run.ranker.state()[1])
    save_tensors(folder / "scaling.safetensors", {"mean": run.scaling.mean, "scale": run.scaling.scale})
    if run.reasoning is not None:
        save_tensors(folder / "reasoner.safetensors", stored_state(run.reasoning.reasoner))
        save_tensors(folder / "residual.safetensors", run.reasoning.residual.state_dict())
        run.reasoning.store.copy_to(folder / STORE)
    if (requests := run.ranker.term_of(RequestTerm)) is not None:
        save_requests(folder, requests)
    write_text(folder / "config.json", run.config.model_dump_json(indent=2) + "\n")
    write_text(folder / "run.json", run.info.model_dump_json(indent=2) + "\n")


def save_requests(folder: Path, term: RequestTerm) -> None:
    """Write the request term of a run, in place of one that it has."""
    about = torch.frombuffer(bytearray(json.dumps(term.settings()).encode()), dtype=torch.uint8)
    save_tensors(folder / REQUESTS, {**term.state_dict(), "about": about})


def _with_requests(ranker: Ranker, folder: Path, latents: Tensor) -> Ranker:
    """The ranker with the request term of a run, if there is one."""
    path = folder / REQUESTS
    if not path.is_file():
        return ranker
    tensors = load_tensors(path)
    try:
        settings = json.loads(tensors.pop("about").numpy().tobytes())
        term = RequestTerm.restored(settings, tensors, latents)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = f"{path}: does not fit this run ({first_line(error)}); learn it again: deftrec requests {folder}"
        raise DeftRecError(message) from error
    return ranker.with_requests(term)


def load_run(folder: Path, device: torch.device) -> Run:
    """Read what `save_run` wrote.

    Raises the errors of `read_run`, or a `DeftRecError` if a file does not fit or the language model's weights changed.
    """
    interactions, config, info = read_run(folder)
    width = info.collaborative_width + info.text_width
    collaborative, text = slice(0, info.collaborative_width), slice(info.collaborative_width, width)
    features = ItemFeatures(torch.zeros(interactions.n_items, width), collaborative, text)
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
    except (KeyError, TypeError) as error:
        raise DeftRecError(f"{folder / 'ranker.safetensors'}: does not fit run.json ({error}); train again") from error
    ranker = _with_requests(ranker, folder, ranker.latent.latents)
    scaling = Scaling(**load_tensors(folder / "scaling.safetensors"))
    reasoning = None if info.reasoner is None else _load_reasoning(folder, interactions, config, info, model)
    return Run(interactions, config, info, model, catalogue, ranker, scaling, reasoning)


def _load_reasoning(
    folder: Path, interactions: Interactions, config: Config, info: RunInfo, model: Model
) -> StoredReasoning:
    """The reasoner of a run behind its store; its language model is read when it is first needed."""
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
    if not (folder / "run.json").is_file():
        if (folder / "request.json").is_file():
            raise DeftRecError(f"{folder}: training was not finished; run 'deftrec train ... --resume' first")
        raise DeftRecError(f"{folder}: no run.json; give the directory that 'deftrec train --out' wrote")
    config, info = read_records(folder)
    try:
        interactions = Interactions.load(folder / "data")
    except DataError as error:
        reason = str(error).partition(";")[0]
        raise DeftRecError(f"{reason}; the run cannot do without it: restore it or train again") from error
    if interactions.fingerprint != info.fingerprint:
        raise DeftRecError(f"{folder / 'data'}: not the data this run was trained on; restore it or train again")
    return interactions, config, info


def read_records(folder: Path) -> tuple[Config, RunInfo]:
    """Read the options and the record of a complete run.

    Raises a `DeftRecError` if the run has another format, or a file is missing or damaged.
    """
    found = FORMAT
    with suppress(OSError, ValueError, KeyError, TypeError):  # damaged, which reading it reports
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))["format"]
    if found != FORMAT:
        raise DeftRecError(
            f"{folder}: a run of format {found}, and this version reads format {FORMAT}; train it again on its data: "
            f"deftrec train --data {folder / 'data'} --recipe default --out NEW"
        )
    info = read_model(folder / "run.json", RunInfo)
    return read_model(folder / "config.json", Config), info


def read_model(path: Path, kind: type[M]) -> M:
    """Read a JSON file into a pydantic model; a `DeftRecError` if it is missing, not JSON, or not of this kind."""
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DeftRecError(f"{path}: missing or damaged ({reason}); train the run again") from error


def environment() -> dict[str, str]:
    """Versions and machine, for the record."""
    values = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("deftrec", "torch", "transformers", "peft", "accelerate", "polars"):
        try:
            values[package] = version(package)
        except PackageNotFoundError:
            values[package] = "not installed"
    values["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        values["gpu"] = torch.cuda.get_device_name()
    return values


def git_output(folder: Path, *words: str) -> str | None:
    """Output of a git command; None where git is absent, fails, or `folder` is in no checkout."""
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def checkout_of(package: Path) -> Path | None:
    """Top folder of the git checkout of `package`; None elsewhere, also where it is installed in another's checkout."""
    top = git_output(package, "rev-parse", "--show-toplevel")
    return Path(top.strip()) if top and git_output(package, "ls-files", "--", ".") else None


def git_revision(package: Path = PACKAGE) -> str | None:
    """Revision of the git checkout of this code; None elsewhere."""
    checkout = checkout_of(package)
    found = None if checkout is None else git_output(checkout, "describe", "--always", "--dirty", "--exclude", "*")
    return None if found is None else found.strip()
