"""The ablation as files: `results.json` for programs, Markdown and HTML for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from studies.ablation.comparison import Comparison, SliceComparison
from studies.ablation.study import SPLITS, Measured
from studies.ablation.variants import BASE, Variant

from deftrec.benchmark.machine import machine
from deftrec.benchmark.verdict import CLEAR
from deftrec.data.split import Part
from deftrec.files import write_json, write_text
from deftrec.formatting import duration, meaning
from deftrec.report.benchmark import machine_facts
from deftrec.report.benchmark_plots import forest
from deftrec.report.render import plain, render, table_lines
from deftrec.run import git_revision

MAIN = "ndcg@10"
COLUMNS = ("variant", "what changes", "NDCG@10", "difference (95 %)", "p", "HR@10", "training")
WORDS = 2
"""The first columns are words, the others figures; of a table of slices the first alone."""
NOTE = (
    "Latent score of one member, unless a row is about members, without the collaborative prior. {seeds}. The interval "
    "and p are of the difference to the recipe, paired bootstrap over users whose values are averaged over seeds; p is "
    "not corrected for the number of variants."
)
SLICES = "Where the difference lies"
SLICES_NOTE = (
    "NDCG@10 of the recipe on some of test's users (how many), then every variant's difference to it; a star: p < .05. "
    "Popularity is counted in training: head, torso and tail are thirds of its interactions, cold has none."
)
Table: TypeAlias = tuple[Sequence[str], list[list[str]]]
"""Names of columns, and cells."""


def write_ablation(
    folder: Path,
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    slices: Sequence[SliceComparison],
    variants: Mapping[str, Variant],
    failures: Mapping[str, str],
    command: str,
) -> Path:
    """Write `results.json`, `report.md` and `report.html` into `folder`; the page's path.

    Args:
        runs: the recipe's and every variant's trainings, by name.
        comparisons: of the variants with the recipe.
        slices: the same on slices of the users of test.
        variants: what each name means.
        failures: why a variant is not among `runs`, or has fewer seeds there.
        command: that made this.

    Raises:
        MissingExtraError: matplotlib is not installed; the page alone is not written.
    """
    content = _content(runs, comparisons, slices, failures, command)
    write_json(folder / "results.json", content)
    tables = {meaning(runs[BASE][0].results[split]): _rows(split, runs, comparisons, variants) for split in SPLITS}
    parts = _slice_tables(slices)
    title, said = f"Ablation on {content['dataset']}", _note(runs, comparisons)
    facts = {
        "command": command,
        **machine_facts(content["machine"]),
        "git revision": content["revision"] or "not from a checkout",
    }
    facts = {name: value for name, value in facts.items() if value}
    write_text(folder / "report.md", _markdown(title, said, tables, parts, failures, facts))
    page = folder / "report.html"
    write_text(page, _page(title, said, tables, parts, _plots(comparisons), failures, facts))
    return page


def _content(
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    slices: Sequence[SliceComparison],
    failures: Mapping[str, str],
    command: str,
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
        "machine": machine(),
        "revision": git_revision(),
        "command": command,
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
        if (row.split, row.metric) != (split, MAIN):
            continue
        about = variants[row.name].about
        if runs[row.name][0].settings == base[0].settings:
            about += " (which the recipe is on these data)"
        spread = "" if row.spread is None else f" ± {row.spread:.4f}"
        difference = f"{row.difference:+.4f} ({row.ci95[0]:+.4f} to {row.ci95[1]:+.4f})"
        rows.append(
            [
                row.name,
                about,
                f"{row.mean:.4f}{spread}",
                difference,
                f"{row.p:.3f}",
                f"{hits[row.name].mean:.4f}",
                duration(row.train_seconds),
            ]
        )
    return rows


def _slice_tables(slices: Sequence[SliceComparison]) -> dict[str, Table]:
    """The recipe, and each variant's difference to it, a column a slice: a table for whatever tells them apart."""
    tables: dict[str, Table] = {}
    for by in dict.fromkeys(one.by for one in slices):
        rows: dict[str, list[SliceComparison]] = {}
        for one in slices:
            if one.by == by:
                rows.setdefault(one.name, []).append(one)
        first = max(rows.values(), key=lambda own: own[0].seeds)
        if len(first) > 1:
            cells = [[BASE, *(f"{one.base:.4f}" for one in first)]]
            for name, own in rows.items():
                cells.append([name, *(f"{one.difference:+.4f}{'*' if one.p < CLEAR else ''}" for one in own)])
            tables[f"By {by}"] = ("variant", *(f"{one.part} ({one.users:,})" for one in first)), cells
    return tables


def _note(runs: Mapping[str, Sequence[Measured]], comparisons: Sequence[Comparison]) -> str:
    count = len(runs[BASE])
    fewer = {row.name: row.seeds for row in comparisons if row.seeds != count}
    seeds = "One seed each"
    if count > 1:
        seeds = f"Each value is the mean over {count} seeds, with their standard deviation"
    if fewer:
        rows = ", ".join(f"{name} over {_seeds(number)}" for name, number in fewer.items())
        seeds += f"; but {rows}. A difference is over the seeds that both rows have"
    return NOTE.format(seeds=seeds)


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"


def _plots(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """SVG by title, one for each part of the data."""
    drawn = {}
    for split in SPLITS:
        rows = {row.name: row for row in comparisons if (row.split, row.metric) == (split, MAIN)}
        if rows:
            title = f"NDCG@10 on {split}, variant minus recipe"
            drawn[title] = forest(rows, "NDCG@10: the variant minus the recipe", title, f"{MAIN} {split}", digits=4)
    return drawn


def _markdown(
    title: str,
    said: str,
    tables: Mapping[str, list[list[str]]],
    parts: Mapping[str, Table],
    failures: Mapping[str, str],
    facts: Mapping[str, str],
) -> str:
    lines = [f"# {plain(title)}", "", plain(said), ""]
    if failures:
        missing = [f"- {plain(name)} failed: {plain(reason)}" for name, reason in failures.items()]
        lines += ["## Not measured", "", *missing, ""]
    for asked, rows in tables.items():
        lines += [f"## {plain(asked)}", "", *table_lines(COLUMNS, rows, WORDS), ""]
    if parts:
        lines += [f"## {SLICES}", "", plain(SLICES_NOTE), ""]
        for by, (columns, rows) in parts.items():
            lines += [f"### {plain(by)}", "", *table_lines(columns, rows), ""]
    lines += ["## How it was measured", "", *(f"- {name}: {plain(value)}" for name, value in facts.items()), ""]
    return "\n".join(lines)


def _page(
    title: str,
    said: str,
    tables: Mapping[str, list[list[str]]],
    slices: Mapping[str, Table],
    plots: Mapping[str, str],
    failures: Mapping[str, str],
    facts: Mapping[str, str],
) -> str:
    return render(
        "page.html",
        Path(__file__).parent,
        title=title,
        sentence=said,
        tiles=[],
        failures=list(failures.items()),
        plots=plots,
        columns=COLUMNS,
        words=WORDS,
        base=BASE,
        tables=tables,
        slices=slices,
        slices_title=SLICES,
        slices_note=SLICES_NOTE,
        facts=list(facts.items()),
    )
