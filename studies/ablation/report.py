"""The report of an ablation: tables of every variant, on test and on validation, and slices of users."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deftrec.data import Part
from deftrec.formatting import duration, meaning
from studies.ablation.study import SPLITS, Measured
from studies.ablation.variants import BASE, Variant
from studies.comparison import (
    Comparison,
    Page,
    PageTable,
    SliceComparison,
    difference_cells,
    difference_plot,
    slice_tables,
    write_page,
)

MAIN = "ndcg@10"
COLUMNS = ("variant", "what changes", "NDCG@10", "difference (95 %)", "p", "HR@10", "training")
SUMMARY = (
    "Latent term of one model, unless a row is about an ensemble. {seeds}. The interval and p "
    "describe the difference to the recipe: paired bootstrap over users whose values are averaged over seeds; p is not "
    "corrected for the number of variants."
)


def write_ablation(
    folder: Path,
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    slices: Sequence[SliceComparison],
    variants: Mapping[str, Variant],
    failures: Mapping[str, str],
    command: str,
) -> Path:
    """Write `results.json`, `report.md` and `report.html` into a folder; the path of the HTML page.

    Args:
        folder: folder of the report.
        runs: trainings of the recipe and of every variant, by name.
        comparisons: variants compared with the recipe.
        slices: variants compared with the recipe on groups of the test users.
        variants: description of every variant.
        failures: reason by variant that is not among `runs`, or has fewer seeds there.
        command: command that repeats the study.

    Raises:
        MissingExtraError: matplotlib is not installed; the HTML page alone is not written.
    """
    first = runs[BASE][0].results["test"]
    tables = [
        PageTable(meaning(runs[BASE][0].results[split]), COLUMNS, _rows(split, runs, comparisons, variants), 2, BASE)
        for split in SPLITS
    ]
    page = Page(
        title=f"Ablation on {first.dataset}",
        summary=SUMMARY.format(seeds=_seeds_line(runs, comparisons)),
        tables=[*tables, *slice_tables(slices, BASE)],
        command=command,
        content=_content(runs, comparisons, slices, failures),
        failures=failures,
    )
    return write_page(folder, page, partial(_plots, comparisons))


def _content(
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    slices: Sequence[SliceComparison],
    failures: Mapping[str, str],
) -> dict[str, Any]:
    first = runs[BASE][0].results["test"]
    models = [
        {
            "name": run.name,
            "seed": run.seed,
            "metrics": run.results["test"].metrics,
            "ci95": {key: list(interval) for key, interval in run.results["test"].ci95.items()},
            "validation": run.results["validation"].metrics,
            "train_seconds": run.train_seconds,
            "users_per_second": run.users_per_second,
            "parameters": run.parameters,
            "settings": run.settings,
        }
        for trainings in runs.values()
        for run in trainings
    ]
    return {
        "dataset": first.dataset,
        "split": first.protocol,
        "part": first.split,
        "seen": first.seen,
        "fit": first.fit,
        "models": models,
        "comparisons": [comparison.model_dump(mode="json") for comparison in comparisons],
        "slices": [one.model_dump(mode="json") for one in slices],
        "failures": dict(failures),
    }


def _rows(
    split: Part,
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    variants: Mapping[str, Variant],
) -> list[list[str]]:
    """Cells of one table, the recipe first."""
    base = runs[BASE]

    def mean(metric: str) -> str:
        return f"{sum(run.results[split].metrics[metric] for run in base) / len(base):.4f}"

    seconds = sum(run.train_seconds for run in base) / len(base)
    rows = [[BASE, "the recipe itself", mean(MAIN), "", "", mean("hr@10"), duration(seconds)]]
    hits = {row.name: row for row in comparisons if (row.split, row.metric) == (split, "hr@10")}
    for row in comparisons:
        if (row.split, row.metric) == (split, MAIN):
            about, mine = variants[row.name].about, runs[row.name][0]
            if mine.settings == base[0].settings and not variants[row.name].changes_code:
                about += " (equal to the recipe on these data)"
            end = [f"{hits[row.name].mean:.4f}", duration(row.train_seconds)]
            rows.append([row.name, about, *difference_cells(row), *end])
    return rows


def _seeds_line(runs: Mapping[str, Sequence[Measured]], comparisons: Sequence[Comparison]) -> str:
    count = len(runs[BASE])
    fewer = {row.name: row.seeds for row in comparisons if row.seeds != count}
    seeds = "One seed each"
    if count > 1:
        seeds = f"Each value is the mean over {count} seeds, with their standard deviation"
    if fewer:
        rows = ", ".join(f"{name} over {_seeds(number)}" for name, number in fewer.items())
        seeds += f"; but {rows}. A difference is over the seeds that both rows have"
    return seeds


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _plots(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """SVG by title, one for each part of the data."""
    drawn = {}
    for split in SPLITS:
        rows = [row for row in comparisons if (row.split, row.metric) == (split, MAIN)]
        if rows:
            title = f"NDCG@10 on {split}, variant minus recipe"
            drawn[title] = difference_plot(rows, title, "NDCG@10: variant minus recipe")
    return drawn
