"""The report of a run as one HTML file; every word of the data is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from deftrec.config import Config
from deftrec.evaluation import Result
from deftrec.formatting import COLUMNS, duration, groups, meaning, metric_name, with_interval
from deftrec.report.examples import Example
from deftrec.report.html import details, document, facts_list, grid, header, note, section
from deftrec.report.plots import DRAWS, STEPS
from deftrec.run import RunInfo

SHOWN_HISTORY = 6
PRIORS = {"ease": "EASE", "slit": "SLIT", "graph": "linear graph filter"}
LEGEND = (
    ("dots", "&bull;", "items"),
    ("past", "&#9632;", "history, the newest strongest"),
    ("path", "&#9473;", "denoising"),
    ("main", "&#9679;", "recommended, with rank"),
    ("next", "&#9733;", "taken next"),
)
"""Role of the colour, mark and name."""


@dataclass(frozen=True)
class Figures:
    """Plots as SVG, in the order of the page.

    Attributes:
        bars: HR and NDCG of all systems, by title.
        curves: losses and validation, by title.
        path: denoising paths of one example, and that example.
        steps: of the run's own sampling.
    """

    bars: Mapping[str, str]
    curves: Mapping[str, str]
    path: str
    path_of: Example
    steps: int


def page(
    info: RunInfo, config: Config, results: Sequence[Result], examples: Sequence[Example], figures: Figures
) -> str:
    """The whole document."""
    body = "\n".join(
        [
            _head(info, results),
            section("Accuracy", *(_metrics(rows) for rows in groups(results)), grid(figures.bars)),
            section(
                "Five users, and what comes next" if len(examples) == 5 else "Users, and what comes next",
                "<div class=stack>" + "".join(_example(one) for one in examples) + "</div>",
                note("Each history ends before the user's test item, which neither model nor list has seen."),
            ),
            section("From noise to a recommendation", _path(figures)),
            section("Training", grid(figures.curves), note("The dot is the epoch whose weights were kept.")),
            section("The run", _run(info, config)),
        ]
    )
    return document(f"DeftRec on {info.dataset}", body)


def _head(info: RunInfo, results: Sequence[Result]) -> str:
    test = next((one for one in results if one.split == "test"), results[0])
    boxes = [
        (f"{test.metrics['ndcg@10']:.3f}", f"NDCG@10, {test.split}"),
        (f"{test.metrics['hr@10']:.3f}", f"HR@10, {test.split}"),
        (f"{test.users:,}", "users asked"),
        (duration(sum(info.seconds.values())), "of training"),
    ]
    return header(f"DeftRec on {info.dataset}", f"{meaning(test)}.", boxes)


def _metrics(rows: Sequence[Result]) -> str:
    head = "".join(f"<th>{escape(metric_name(key))}</th>" for key in COLUMNS)
    lines = []
    for one in rows:
        cells = []
        for key in COLUMNS:
            value, interval = with_interval(one, key)
            cells.append(f"<td>{value}{f'<small>{interval}</small>' if interval else ''}</td>")
        mark = ' class="main"' if one.name == "deftrec" else ""
        lines.append(f"<tr{mark}><td>{escape(one.name)}</td>{''.join(cells)}</tr>")
    title = escape(rows[0].split.capitalize())
    return (
        f'<div class=card style="margin-top:14px"><h3>{title}</h3><div class=scroll><table>'
        f"<thead><tr><th>system</th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        f"{note(meaning(rows[0]) + '. Beside the values: 95 % bootstrap intervals over users.')}</div>"
    )


def _example(one: Example) -> str:
    recommended = "".join(
        f"<li{' class=hit' if item.rank == one.place else ''}>{escape(item.title)}</li>" for item in one.recommendations
    )
    past = "".join(f"<li>{escape(title)}</li>" for title in one.titles[-SHOWN_HISTORY:])
    return (
        f"<div class='card user'><h3>User {escape(str(one.user))}</h3>"
        f"<div><h4>{escape(_history_caption(one))}</h4><ul>{past}</ul></div>"
        f"<div><h4>recommended</h4><ol>{recommended}</ol></div>"
        f"<p class=all>Taken next: <span class=hit>{escape(one.target)}</span>{escape(_found(one))}</p></div>"
    )


def _history_caption(one: Example) -> str:
    total = len(one.titles)
    if total <= SHOWN_HISTORY:
        return "took, oldest first"
    return f"took, the last {SHOWN_HISTORY} of {total:,}"


def _found(one: Example) -> str:
    return f", recommended at rank {one.place}" if one.place else f", not among the {len(one.recommendations)}"


def _path(figures: Figures) -> str:
    one = figures.path_of
    caption = (
        f"User {one.user}. Every grey dot is an item, placed by the two main axes of the item latents. Lines follow "
        f"the denoised latent through {STEPS} steps from {DRAWS} draws of noise: from the first estimate (rings) to "
        f"the last (dots); one is thick. This run itself recommends after {figures.steps} "
        f"{'step' if figures.steps == 1 else 'steps'}. Numbers are ranks of the list above. A plane shows only part "
        "of a space of many dimensions: what is near in it need not be near."
    )
    legend = "".join(
        f"<span><i style='color:var(--{role})'>{mark}</i>{escape(name)}</span>" for role, mark, name in LEGEND
    )
    return (
        f"<figure><div class=legend>{legend}</div><div class=scroll><div class=wide>{figures.path}</div></div>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _run(info: RunInfo, config: Config) -> str:
    machine = info.environment
    facts = {
        "data": f"{info.dataset}, fingerprint {info.fingerprint[:16]}",
        "split": config.data.split,
        "fitted on": info.fit,
        "parameters": f"{info.parameters:,}",
        "epochs kept": ", ".join(f"{stage} {epochs}" for stage, epochs in info.epochs.items()),
        "seconds": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in info.seconds.items()),
        "seed": str(config.seed),
        "machine": ", ".join(
            part
            for part in (machine.get("platform", ""), machine.get("gpu", ""), f"{machine.get('threads', '?')} threads")
            if part
        ),
        "versions": ", ".join(
            f"{name} {machine[name]}" for name in ("deftrec", "python", "torch", "transformers") if name in machine
        ),
        "git revision": info.revision or "not from a checkout",
    }
    facts |= dict(term_facts(info))
    settings = details("All settings", f"<pre>{escape(config.model_dump_json(indent=2))}</pre>")
    return f"<div class=card>{facts_list(facts)}{settings}</div>"


def term_facts(info: RunInfo) -> list[tuple[str, str]]:
    """The score terms that validation gave a weight, with their settings and worth."""
    facts = []
    for name, values in info.terms.items():
        if values["active"]:
            settings = ", ".join(
                f"{key.replace('_', ' ')} {value:.4g}"
                if isinstance(value, float)
                else f"{key.replace('_', ' ')} {value}"
                for key, value in values.items()
                if key not in {"active", "n_items"}
            )
            facts.append((name.replace("_", " "), settings))
    return facts
