"""Seconds that each stage of a training will take on this machine, from a probe of about two seconds."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from deftrec.batch import Batch
from deftrec.collaborative import LightGCN, draw_triples
from deftrec.config import STATEMENT_TOKENS, Config, ReasonerOptions
from deftrec.data import Interactions, Sequences, make_split
from deftrec.data.words import texts_of
from deftrec.ensemble import build_member
from deftrec.evaluation.metrics import ranks_from_scores
from deftrec.hardware import default_device, describe, inference_dtype, matrix_rate
from deftrec.model import DeftRec
from deftrec.pretrained_files.architecture import LETTERS_PER_TOKEN, architecture_of, hidden_size
from deftrec.pretrained_files.reading import reading
from deftrec.reasoning import ItemWords
from deftrec.recipe import with_events
from deftrec.retrieval.choose import USERS
from deftrec.retrieval.terms import collaborative_prior as prior
from deftrec.tensors import to_device
from deftrec.tokenizer import ItemFeatures
from deftrec.training.batches import PackedBatches
from deftrec.training.fit import VALIDATION_USERS, resolve
from deftrec.training.joint import member_name
from deftrec.training.reasoning import READ_USERS, ROWS

PROBE_SECONDS, PROBES = 0.4, 3
"""Time after which a kind of work is not timed again, and largest number of times. A longer batch is probed in part."""
SENTENCE_PARAMETERS = 11e6
"""Weights that one token of a sentence model is multiplied with."""
SENTENCE_SHARE = 0.2
"""Share of the matrix rate that short texts reach."""
PROBED_INTERACTIONS = 2_000_000
LOADING_SECONDS = 2.0
TREND_WEIGHTS = 25
PROMPT_TOKENS = 16
"""Tokens of a reasoner's prompt and question."""
DECODED = 3
"""Cost of a generated token in tokens that are read together."""


@dataclass(frozen=True)
class Forecast:
    """Expected seconds of a training.

    Attributes:
        seconds: seconds by stage, in order, under the names that `Progress` is given.
        machine: the hardware and its measured matrix rate, in words.
    """

    seconds: dict[str, float]
    machine: str


def forecast(
    interactions: Interactions,
    config: Config,
    *,
    refit: bool = False,
    beside: bool = False,
    device: torch.device | None = None,
) -> Forecast:
    """Time one training step of each kind, and count the steps.

    Early stopping and stages that another run has cached make a training shorter. Random states stay as they are.

    Args:
        refit: whether training on train + validation follows.
        beside: whether the reasoner alone is trained, beside a finished run.
        device: device of the training; None: the first GPU, else the CPU.

    Raises the errors of a training.
    """
    device = device or default_device()
    config, interactions = with_events(config, interactions)
    split = make_split(interactions, config.data.split)
    config = resolve(config, interactions, split)
    dtype = inference_dtype(config.training.precision, device)
    training = split.training("train")
    users = min(VALIDATION_USERS, int((training.lengths > 0).sum()))
    # Of large data, a share of the users is packed and counted, in place of all.
    share = min(1.0, PROBED_INTERACTIONS / max(1, len(training.items)))
    few = training if share == 1 else training.select(range(max(1, int(share * len(training)))))
    reasoner: dict[str, float] = {}
    if config.reasoner is not None:
        with torch.random.fork_rng():
            reasoner = reasoner_seconds(interactions, config.reasoner, users, dtype, device)
    if beside:
        return Forecast(reasoner, describe(device, dtype))
    seconds: dict[str, float] = {}
    with torch.random.fork_rng():
        texts = [text for text in texts_of(interactions.catalogue) if text] if config.text.model is not None else []
        if texts:
            tokens = sum(min(config.text.max_tokens, 2 + len(text) // 4) for text in texts)
            work = 2 * SENTENCE_PARAMETERS * tokens
            seconds["text"] = LOADING_SECONDS + work / (SENTENCE_SHARE * matrix_rate(device, dtype))
        if config.collaborative.encoder == "lightgcn":
            graph = config.collaborative
            module = LightGCN(few, interactions.n_items, graph.dim, graph.layers, graph.l2).to(device)
            triples = draw_triples(few, interactions.n_items, int(graph.batch_size), np.random.default_rng(0))
            first = to_device(triples[0], device)
            step = _timed(lambda: torch.autograd.backward(module(first)["loss"]), device)  # grows with all edges
            seconds["collaborative"] = int(graph.epochs) * len(triples) * step / share**2
        text_width = hidden_size(config.text.model) if texts and config.text.model is not None else 0
        if member := _member_seconds(few, interactions, config, text_width, users, dtype, device):
            seconds |= {member_name("joint", n): member / share for n in range(int(config.training.ensemble_size))}
        seconds |= reasoner
        once = {"text", "statements"}
        again = {f"refit-{name}": value for name, value in seconds.items() if name not in once} if refit else {}
        if config.retrieval.prior != "none":
            seconds["collaborative prior"] = _prior_seconds(config, training, interactions.n_items, users, device)
    return Forecast(seconds | again, describe(device, dtype))


def reasoner_seconds(
    interactions: Interactions, options: ReasonerOptions, users: int, dtype: torch.dtype, device: torch.device
) -> dict[str, float]:
    """Seconds of a reasoner's stages, from one random block of its language model that reads and learns a batch."""
    from transformers import AutoConfig, AutoModel  # a slow import, only where needed

    folder = architecture_of(options.model).folder
    with reading(folder):
        architecture = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        blocks = int(architecture.num_hidden_layers)
        architecture.num_hidden_layers = 1
        block = AutoModel.from_config(architecture, dtype=dtype, trust_remote_code=False).to(device)
    words = ItemWords.of(interactions).lines
    line = float(np.mean([min(options.titles, 1 + len(one) / LETTERS_PER_TOKEN) for one in words])) + options.ways
    lengths = make_split(interactions, "leave-one-out").training("train").lengths
    items = float(np.minimum(lengths[lengths > 0], options.history).mean())
    history, whole = PROMPT_TOKENS + items * line, PROMPT_TOKENS + items * line + STATEMENT_TOKENS
    rows, tuned = ROWS, min(blocks, options.tuned_layers)
    probe = torch.randn(rows, int(whole), int(architecture.hidden_size), device=device, dtype=dtype)

    def read() -> torch.Tensor:
        hidden: torch.Tensor = block(inputs_embeds=probe).last_hidden_state
        return hidden

    block.requires_grad_(False)
    with torch.no_grad():
        reading_one = _timed(read, device) / (rows * whole)  # seconds of a token and block
    probe.requires_grad_(True)
    learning_one = _timed(lambda: torch.autograd.backward(read().sum()), device) / (rows * whole)
    told = options.examples * whole * ((blocks - tuned) * reading_one + tuned * learning_one)
    read_all = min(users, READ_USERS) * history * (blocks - tuned) * reading_one
    seconds = {"statements": LOADING_SECONDS * 3 + told, "reading": read_all}
    if options.spoken:
        spoken = min(users, options.spoken) * (whole + DECODED * STATEMENT_TOKENS)
        seconds["speaking"] = 2 * spoken * blocks * reading_one
    return seconds


def _member_seconds(
    training: Sequences,
    interactions: Interactions,
    config: Config,
    text_width: int,
    users: int,
    dtype: torch.dtype,
    device: torch.device,
) -> float:
    """Seconds of the joint stage of one member; 0 where there is nothing to learn from, which training will say."""
    graph_width = 0 if config.collaborative.encoder == "none" else config.collaborative.dim
    if not graph_width + text_width or not (training.lengths > 1).any():
        return 0.0
    features = ItemFeatures.build(
        torch.randn(interactions.n_items, graph_width) if graph_width else None,
        torch.randn(interactions.n_items, text_width) if text_width else None,
    )
    model = build_member(features, config, interactions.meta.domain, interactions.titles).to(device)
    positions = int(config.training.batch_positions)
    batches = PackedBatches(
        training,
        interactions.n_items,
        max_history=model.max_history,
        batch_positions=positions,
        objective=config.objective,
        seed=0,
    )
    steps, drawn = batches.epoch(0)
    learning, reading = _batch_seconds(model, to_device(next(drawn), device), dtype)
    validated = float(np.minimum(training.lengths, model.max_history).mean()) * users / positions
    return int(config.training.epochs) * (steps * learning + validated * reading)


def _batch_seconds(model: DeftRec, batch: Batch, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds to learn from a batch, and to read it without learning."""
    device = model.features.values.device

    def read(rows: int) -> torch.Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss: torch.Tensor = model(batch.rows(torch.arange(rows, device=device)))["loss"]
        return loss

    def whole(work: Callable[[int], object]) -> float:
        rows, one = len(batch.items), _timed(lambda: work(1), device)
        some = min(rows, max(2, int(PROBE_SECONDS / max(one, 1e-9))))
        several = _timed(lambda: work(some), device)
        # Work that is the same for every batch (the catalogue's tokens) is in both times; their difference is not.
        return several + max(0.0, several - one) * (rows - some) / (some - 1) if some < rows else several

    model.train()
    learning = whole(lambda rows: torch.autograd.backward(read(rows)))
    model.eval()
    with torch.no_grad():
        return learning, whole(read)


def _prior_seconds(config: Config, training: Sequences, n_items: int, users: int, device: torch.device) -> float:
    """Seconds to choose the prior: every setting and weight ranks the targets of the validation users."""
    kind, users = config.retrieval.prior, min(users, USERS)
    groups = list(prior.candidates(kind, training))
    inverses = sum(group[0].kind != "graph" for group in groups)
    settings = sum(len(group) for group in groups)
    rows = max(1, min(users, 500_000 // n_items))
    scores, linear = torch.randn(2, rows, n_items, device=device)
    targets = torch.randint(n_items, (rows,), device=device)
    ranking = _timed(lambda: ranks_from_scores(torch.add(scores, linear, alpha=1.5), targets), device) / rows
    side = min(n_items, config.retrieval.prior_max_items)
    inverting = 4 * side**3 / matrix_rate(device, torch.float32)
    return float(inverses * inverting + (settings * len(prior.WEIGHTS) + TREND_WEIGHTS) * users * ranking)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of `work`, the best of a few times: the first is often slower."""
    best, spent = math.inf, 0.0
    for _ in range(PROBES):
        started = _clock(device)
        work()
        took = _clock(device) - started
        best, spent = min(best, took), spent + took
        if spent > PROBE_SECONDS:
            break
    return best


def _clock(device: torch.device) -> float:
    """Seconds on a GPU; on a CPU those that the threads computed, so that other processes do not count."""
    if device.type != "cuda":
        return time.process_time() / torch.get_num_threads()
    torch.cuda.synchronize(device)
    return time.perf_counter()
