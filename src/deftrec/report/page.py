"""The report of a run as one HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deftrec.config import Config
from deftrec.evaluation import Result
from deftrec.formatting import columns_of, duration, groups, meaning
from deftrec.report.examples import Example
from deftrec.report.html import render
from deftrec.report.plots import DRAWS, STEPS
from deftrec.run import RunInfo

SHOWN_HISTORY = 6
LEGEND = (
    ("dots", "•", "items"),
    ("past", "■", "history, the newest strongest"),
    ("path", "━", "denoising"),
    ("main", "●", "recommended, with rank"),
    ("next", "★", "next interaction"),
)
"""Colour role, mark and name."""


@dataclass(frozen=True)
class Figures:
    """Plots of a run as SVG, in the order of the page.

    Attributes:
        bars: HR and NDCG of all systems, by title.
        curves: losses and validation metrics, by title.
        path: denoising paths of one example.
        path_of: that example.
        steps: number of denoising steps of the run's own sampling.
    """

    bars: Mapping[str, str]
    curves: Mapping[str, str]
    path: str
    path_of: Example
    steps: int


def page(
    info: RunInfo, config: Config, results: Sequence[Result], examples: Sequence[Example], figures: Figures
) -> str:
    """Render the page."""
    test = next((one for one in results if one.split == "test"), results[0])
    return render(
        "run.html",
        title=f"DeftRec on {info.dataset}",
        sentence=f"{meaning(test)}.",
        tiles=[
            (f"{test.metrics['ndcg@10']:.3f}", f"NDCG@10, {test.split}"),
            (f"{test.metrics['hr@10']:.3f}", f"HR@10, {test.split}"),
            (f"{test.users:,}", "evaluated users"),
            (duration(sum(info.seconds.values())), "training time"),
        ],
        tables=[
            {"results": rows, "columns": columns_of(rows), "meaning": meaning(rows[0])} for rows in groups(results)
        ],
        bars=figures.bars,
        examples=examples,
        shown=SHOWN_HISTORY,
        found=found,
        legend=LEGEND,
        path=figures.path,
        caption=_caption(figures),
        curves=figures.curves,
        facts=[*run_facts(info, config), *term_facts(info)],
        settings=config.model_dump_json(indent=2),
    )


def found(one: Example) -> str:
    """Say where the target is among the recommendations."""
    return f"rank {one.place} of the list" if one.place else f"not among the {len(one.recommendations)} recommendations"


def _caption(figures: Figures) -> str:
    return (
        f"User {figures.path_of.user}. Grey dots are items, placed by the two main axes of the item latents. Lines "
        f"follow the denoised latent through {STEPS} steps from {DRAWS} draws of noise, from the first estimate "
        f"(rings) to the last (dots); one line is thick. This run recommends after {figures.steps} "
        f"{'step' if figures.steps == 1 else 'steps'}. Numbers are ranks of the list above. Two axes show a small part "
        "of a space of many dimensions: points that are close here may be far apart in it."
    )


def run_facts(info: RunInfo, config: Config) -> list[tuple[str, str]]:
    """List data, training and machine of a run by name."""
    machine = info.environment
    hardware = (machine.get("platform", ""), machine.get("gpu", ""), f"{machine.get('threads', '?')} threads")
    packages = ("deftrec", "python", "torch", "transformers")
    return [
        ("data", f"{info.dataset}, fingerprint {info.fingerprint[:16]}"),
        ("split", config.data.split),
        ("fitted on", info.fit),
        ("parameters", f"{info.parameters:,}"),
        ("epochs kept", ", ".join(f"{stage} {epochs}" for stage, epochs in info.epochs.items())),
        ("seconds", ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in info.seconds.items())),
        ("seed", str(config.seed)),
        ("machine", ", ".join(part for part in hardware if part)),
        ("versions", ", ".join(f"{name} {machine[name]}" for name in packages if name in machine)),
        ("git revision", info.revision or "not from a checkout"),
    ]


def term_facts(info: RunInfo) -> list[tuple[str, str]]:
    """Describe the terms of the score that validation gave a weight, by name."""
    return [(name.replace("_", " "), _settings(values)) for name, values in info.terms.items() if values["active"]]


def _settings(values: dict[str, Any]) -> str:
    """Settings of a term in words, then what it was worth on validation."""
    record = values.get("record", {})
    shown = {key: value for key, value in values.items() if key not in {"active", "record", "n_items", "values"}}
    settings = [
        f"{key.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
        for key, value in shown.items()
    ]
    worth = [f"validation NDCG@10 {record['ndcg_without']:.4f} without, {record['ndcg']:.4f} with it"] if record else []
    return "; ".join([", ".join(settings), *worth])
