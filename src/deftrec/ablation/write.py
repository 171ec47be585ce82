"""The ablation as files: `results.json` for programs, Markdown and HTML for people."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from deftrec.ablation.comparison import Comparison
from deftrec.ablation.forest import forest
from deftrec.ablation.study import SPLITS, Measured
from deftrec.ablation.variants import BASE, Variant
from deftrec.benchmark.machine import machine
from deftrec.data.split import Part
from deftrec.files import write_json, write_text
from deftrec.report.markdown import plain
from deftrec.report.theme import variables
from deftrec.run import git_revision
from deftrec.wording import duration, meaning

MAIN = "ndcg@10"
COLUMNS = ("variant", "what changes", "NDCG@10", "difference (95 %)", "p", "HR@10", "training")
NOTE = (
    "Latent score of one member, unless a row is about members, without the collaborative prior. {seeds}. The interval "
    "and p are of the difference to the recipe, paired bootstrap over users whose values are averaged over seeds; p is "
    "not corrected for the number of variants."
)
STYLE = """
body{margin:0 auto;max-width:60rem;padding:2rem 1rem;background:var(--page);color:var(--ink)}
body{font:15px/1.5 system-ui,sans-serif}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td:nth-child(n+3),th:nth-child(n+3){text-align:right;white-space:nowrap}
.wide{overflow-x:auto} p{color:var(--soft)} svg{width:100%;height:auto}
"""


def write_ablation(
    folder: Path,
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    variants: Mapping[str, Variant],
    failures: Mapping[str, str],
    command: str,
) -> Path:
    """Write `results.json`, `report.md` and `report.html` into `folder`; the page's path.

    Args:
        runs: the recipe's and every variant's trainings, by name.
        comparisons: of the variants with the recipe.
        variants: what each name means.
        failures: why a variant is not among `runs`.
        command: that made this.
    """
    write_json(folder / "results.json", _content(runs, comparisons, failures, command))
    tables = {split: _rows(split, runs, comparisons, variants) for split in SPLITS}
    write_text(folder / "report.md", _markdown(tables, runs, failures, command))
    page = folder / "report.html"
    write_text(page, _page(tables, runs, comparisons, failures, command))
    return page


def _content(
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
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


def _note(runs: Mapping[str, Sequence[Measured]]) -> str:
    count = len(runs[BASE])
    several = f"Each value is the mean over {count} seeds, with their standard deviation"
    return NOTE.format(seeds="One seed each" if count == 1 else several)


def _markdown(
    tables: Mapping[Part, list[list[str]]],
    runs: Mapping[str, Sequence[Measured]],
    failures: Mapping[str, str],
    command: str,
) -> str:
    first = runs[BASE][0]
    lines = [f"# Ablation on {plain(first.results['test'].dataset)}", "", _note(runs), ""]
    for split, rows in tables.items():
        lines += [f"## {plain(meaning(first.results[split]))}", "", "| " + " | ".join(COLUMNS) + " |"]
        lines.append("|---|---|" + "---:|" * (len(COLUMNS) - 2))
        lines += ["| " + " | ".join(map(plain, row)) + " |" for row in rows]
        lines.append("")
    lines += [f"- {name} failed: {reason}" for name, reason in failures.items()]
    return "\n".join([*lines, "", f"Command: `{command}`. Revision: {git_revision() or 'not from a checkout'}.", ""])


def _page(
    tables: Mapping[Part, list[list[str]]],
    runs: Mapping[str, Sequence[Measured]],
    comparisons: Sequence[Comparison],
    failures: Mapping[str, str],
    command: str,
) -> str:
    first = runs[BASE][0]
    title = f"Ablation on {first.results['test'].dataset}"
    parts = [f"<h1>{escape(title)}</h1><p>{escape(_note(runs))}</p>"]
    for split, rows in tables.items():
        parts.append(f"<h2>{escape(meaning(first.results[split]))}</h2>")
        drawn = [row for row in comparisons if (row.split, row.metric) == (split, MAIN)]
        if drawn:
            names = f"NDCG@10 on {split}: difference of each variant to the recipe, with 95 % interval"
            parts.append(f"<p>{names}. Blue where the interval leaves out zero.</p>{forest(drawn, names)}")
        head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')
    parts += [f"<p>{escape(name)} failed: {escape(reason)}</p>" for name, reason in failures.items()]
    parts.append(f"<p>Made by <code>{escape(command)}</code></p>")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{variables()}{STYLE}</style>{''.join(parts)}</html>\n"
    )
