"""Times every system on the same histories, in batches and one user at a time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmarks.machine_rates import Rates, measure_rates, seconds

from deftrec.benchmark.machine import machine
from deftrec.config import Config, PretrainedOptions
from deftrec.data import Interactions, Sequences, make_split
from deftrec.errors import ConfigError
from deftrec.flops import counting
from deftrec.hardware import Precision, inference_dtype
from deftrec.progress import Progress
from deftrec.tokenizer import ItemFeatures
from deftrec.training.fit import resolve
from studies.pretrained import text_width
from studies.speed.systems import Authors, DreamRec, OneStep, Plain, SasRec, Setting, System
from studies.speed.tiger import Tiger

SYSTEMS: tuple[type[System], ...] = (OneStep, Plain, SasRec, Tiger, DreamRec, Authors)
"""Systems in the order of the table; the others are compared with DeftRec, the first."""
SINGLES = 5
"""Number of users that are timed alone, from the shortest history to the longest."""
LEAST_SECONDS = 1.0
"""Least seconds of one measurement; shorter work is repeated."""


@dataclass(frozen=True)
class SpeedRow:
    """One system.

    Attributes:
        system: name.
        says: description in a line.
        users_per_second: users answered per second, in batches.
        milliseconds: milliseconds of one user alone, median.
        ratio: users per second of the first row over those of this row.
        single_ratio: milliseconds of this row over those of the first row.
        flops_per_user: floating-point operations of a user, in batches.
        matrix_share: achieved share of the machine's matrix rate.
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
    """All systems, timed in one process.

    Attributes:
        dataset, items, users: name of the data, number of items, number of users answered.
        history: mean number of items read from one history.
        language_model: name of the language model.
        precision: type of the matrix products that read histories.
        rates: rates of the machine.
        machine: description of the machine.
        rows: systems, DeftRec first.
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
        """Everything, as JSON holds it."""
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
        interactions: data, whose catalogue and histories are used.
        config: options of DeftRec; one member with random weights is timed.
        systems: names of the systems beside DeftRec; None: all.
        users: number of users answered in batches; a few of them are timed again one by one.
        k: length of a list.
        precision: precision of reading histories, except for the plain path.
        device: device of all systems.
        progress: receiver of progress.

    Raises:
        ConfigError: an unknown system.
    """
    kinds = _chosen(systems)
    split = make_split(interactions, config.data.split)
    config = resolve(config, interactions, split)
    config = config.model_copy(update={"training": config.training.model_copy(update={"ensemble_size": 1})})
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
        system.recommend(one)  # first calls choose kernels for a length: a tenth of a second on a GPU
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
    """Item features of the recipe's width, drawn at random."""
    width, collaborative = text_width(config), config.collaborative
    text = torch.randn(items, width) if width else None
    return ItemFeatures.build(torch.randn(items, 0 if collaborative.encoder == "none" else collaborative.dim), text)
