"""Systems asked in turn, in batches and one user at a time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from deftrec.training.build import resolve
from studies.speed.machine import Rates, measure_rates, seconds
from studies.speed.systems import Authors, DreamRec, OneStep, Plain, SasRec, Setting, System
from studies.speed.tiger import Tiger

from deftrec.benchmark.machine import machine
from deftrec.config import Config, PretrainedOptions
from deftrec.data import Interactions, Sequences, make_split
from deftrec.errors import ConfigError
from deftrec.flops import counting
from deftrec.hardware import Precision, inference_dtype
from deftrec.pretrained_files.architecture import hidden_size
from deftrec.pretrained_files.locate import MINILM
from deftrec.progress import Progress
from deftrec.tokenizer import ItemFeatures

SYSTEMS: tuple[type[System], ...] = (OneStep, Plain, SasRec, Tiger, DreamRec, Authors)
"""DeftRec first: it is what the others are compared with."""
SINGLES = 5
"""Users that are asked alone, from the shortest history to the longest."""
LEAST_SECONDS = 1.0
"""Of one measurement: what is over sooner is done again."""


@dataclass(frozen=True)
class SpeedRow:
    """One system.

    Attributes:
        system: its name.
        says: what it does.
        users_per_second: in batches.
        milliseconds: of one user alone, the median.
        ratio: users per second of the first row over this one's.
        single_ratio: milliseconds of this row over the first one's.
        flops_per_user: of the products that were computed, in batches.
        matrix_share: of the machine's matrix rate that these are.
    """

    system: str
    says: str
    users_per_second: float
    milliseconds: float
    ratio: float
    single_ratio: float
    flops_per_user: float
    matrix_share: float


@dataclass(frozen=True)
class SpeedTable:
    """A whole run.

    Attributes:
        dataset, items, users: whose histories were read.
        history: items of one of them, the mean of what is read.
        language_model: the backbone.
        precision: of reading histories.
        rates: of the machine.
        machine: what it is.
        rows: DeftRec first.
    """

    dataset: str
    items: int
    users: int
    history: float
    language_model: str
    precision: str
    rates: Rates
    machine: dict[str, str]
    rows: tuple[SpeedRow, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


def measure_speed(
    interactions: Interactions,
    config: Config,
    *,
    systems: Sequence[str] | None,
    users: int,
    k: int,
    precision: Precision,
    device: torch.device,
    progress: Progress,
) -> SpeedTable:
    """Time every system on the same histories: those before the test targets, evenly drawn from short to long.

    Args:
        interactions: real catalogue and histories.
        config: of DeftRec; one member of it is asked, with random weights.
        systems: names of those to time beside DeftRec; None: all.
        users: asked in batches; a few of them again one by one.
        k: items of a list.
        precision: of reading histories, but for the plain path.

    Raises:
        ConfigError: no such system, or the recipe's head or language model is none that they can be built with.
    """
    kinds = _chosen(systems)
    split = make_split(interactions, config.data.split)
    config = resolve(config, interactions, split)
    config = config.model_copy(update={"training": config.training.model_copy(update={"ensemble_size": 1})})
    if config.diffusion.head == "semantic-ids":
        raise ConfigError("diffusion.head semantic-ids has a row of its own here: leave it at diffusion or direct")
    torch.manual_seed(config.seed)
    dtype = inference_dtype(precision, device)
    setting = Setting(config, interactions, _features(config, interactions.n_items), k, dtype, device)
    histories = split.cases("test").histories
    order = np.argsort(histories.lengths, kind="stable")
    histories = histories.select(order[np.linspace(0, len(order) - 1, min(users, len(order))).astype(int)])
    rates = measure_rates(device)
    measured = []
    progress.begin("systems", len(kinds))
    for kind in kinds:
        system = kind(setting)
        measured.append(_measure(system, histories, rates.of(torch.float32 if kind is Plain else dtype), device))
        progress.advance("systems", 1)
    progress.end("systems")
    first = measured[0]
    rows = [
        SpeedRow(
            system=kind.name,
            says=kind.says,
            users_per_second=row.rate,
            milliseconds=row.alone,
            ratio=first.rate / row.rate,
            single_ratio=row.alone / first.alone,
            flops_per_user=row.flops,
            matrix_share=row.share,
        )
        for kind, row in zip(kinds, measured, strict=True)
    ]
    options = config.language
    return SpeedTable(
        dataset=interactions.meta.name,
        items=interactions.n_items,
        users=len(histories),
        history=float(np.minimum(histories.lengths, int(config.data.max_history)).mean()),
        language_model=options.model if isinstance(options, PretrainedOptions) else f"nano, width {options.width}",
        precision="bf16" if dtype == torch.bfloat16 else "fp32",
        rates=rates,
        machine=machine(),
        rows=tuple(rows),
    )


def _chosen(names: Sequence[str] | None) -> list[type[System]]:
    known = {kind.name: kind for kind in SYSTEMS}
    for name in names or ():
        if name not in known:
            raise ConfigError(f"no system {name!r}; there are {', '.join(known)}")
    return [kind for kind in SYSTEMS if names is None or kind is OneStep or kind.name in names]


@dataclass(frozen=True)
class _Measured:
    rate: float
    alone: float
    flops: float
    share: float


def _measure(system: System, histories: Sequences, matrix_rate: float, device: torch.device) -> _Measured:
    few = np.linspace(0, len(histories) - 1, min(SINGLES, len(histories))).astype(int)
    singles = [histories.select([n]) for n in few]
    for one in singles:
        system.recommend(one)  # what happens once for each length, as choosing kernels: a tenth of a second on a GPU
    alone = [1000 * seconds(partial(system.recommend, one), device) for one in singles]
    with counting() as counted:
        system.recommend(histories)
    flops = counted.get_total_flops() / len(histories)
    took, rounds = 0.0, 0
    while took < LEAST_SECONDS:
        took += seconds(partial(system.recommend, histories), device)
        rounds += 1
    rate = rounds * len(histories) / took
    return _Measured(rate, float(np.median(alone)), flops, flops * rate / matrix_rate)


def _features(config: Config, items: int) -> ItemFeatures:
    """Vectors of the recipe's width, drawn at random."""
    text = None
    if config.text.model is not None:
        text = torch.randn(items, hidden_size(config.text.model or MINILM))
    collaborative = 0 if config.collaborative.encoder == "none" else config.collaborative.dim
    return ItemFeatures.build(torch.randn(items, collaborative), text)
