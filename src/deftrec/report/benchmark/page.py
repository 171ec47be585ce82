"""A benchmark as one HTML file: a section a table, then how it was measured; every word of the data is escaped."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

from deftrec.benchmark.tables import Row, Slice, Summary, Table
from deftrec.benchmark.verdict import asked, by_reason, how_measured, p_value, ratio, training_time, verdict
from deftrec.formatting import count, metric_name, with_interval
from deftrec.report.benchmark.facts import facts, table_title
from deftrec.report.html import details, document, facts_list, failed, grid, header, note, section

SLICES = {
    "history": "Quarters of the users by the length of their history; fewer where lengths tie.",
    "popularity": "Items in order of their training interactions: head, torso and tail begin within the first, second "
    "and last third of all of them. Cold items have none.",
    "novelty": "A repeated target was in the user's history. Where seen items are excluded it is a certain miss.",
}
"""What the slices of the users are."""
COLUMNS = ("ndcg@10", "hr@10", "mrr", "coverage@10")


def page(tables: Sequence[Table], plots: Sequence[Mapping[str, Mapping[str, str]]]) -> str:
    """The whole document.

    Args:
        tables: of one benchmark, the first one above all.
        plots: of each table: `comparisons`, `costs` and `slices`, SVG by title.
    """
    first = tables[0]
    peers = sum(one.role == "peer" for one in first.summaries)
    title = f"DeftRec on {first.dataset}, beside {peers} other{'' if peers == 1 else 's'}"
    parts = [header(title, verdict(first), _tiles(first)), _links(tables), failed(by_reason(first.failures))]
    parts += [_table_section(table, drawn, table is first) for table, drawn in zip(tables, plots, strict=True)]
    parts.append(section("How it was measured", _measured(first)))
    parts.append(section("Every setting", _settings(first.models)))
    return document(title, "\n".join(part for part in parts if part))


def _tiles(table: Table) -> list[tuple[str, str]]:
    best = table.best_peer()
    if best is None:
        return []
    return [
        (f"{best.deftrec:.4f}", "NDCG@10, DeftRec"),
        (f"{best.other:.4f}", f"NDCG@10, {best.peer}"),
        (f"{ratio(best)} ×", "of the best peer"),
        (p_value(best.p).removeprefix("p ").removeprefix("= "), "p, paired bootstrap"),
    ]


def _links(tables: Sequence[Table]) -> str:
    """The way to each table, where there are several."""
    if len(tables) == 1:
        return ""
    links = "".join(f'<a href="#{_anchor(table)}">{escape(table_title(table))}</a>' for table in tables)
    return f"<nav>{links}</nav>"


def _anchor(table: Table) -> str:
    return f"{table.fit.replace('+', '-')}-{table.seen}"


def _table_section(table: Table, drawn: Mapping[str, Mapping[str, str]], first: bool) -> str:
    sentence = "" if first else f"<p>{escape(verdict(table))}</p>"
    more = (
        f"<h3 class=above>What it costs</h3>{grid(drawn['costs'])}"
        f"<h3 class=above>For whom</h3>{grid(drawn['slices'], _legend(table))}"
        f"{details('Every system in every slice', _slice_table(table))}"
    )
    body = section(
        table_title(table),
        f"<p class=note>{escape(asked(table))}.</p>{sentence}",
        _metrics(table),
        grid(drawn["comparisons"]),
        note(
            "Differences are paired: the same users under both systems, each averaged over seeds. Beside them p of no "
            "difference, not corrected for the number of peers. Blue: DeftRec is ahead; orange: behind; grey: unclear."
        ),
        more if first else details("Costs, and slices of the users", more),
    )
    return body.replace("<section>", f'<section id="{_anchor(table)}">', 1)


def _legend(table: Table) -> str:
    best = table.best_peer()
    marks = [
        ("main", "DeftRec"),
        ("path", best.peer if best else ""),
        ("part", "its parts"),
        ("peer", "the other peers"),
    ]
    shown = "".join(
        f"<span><i style='color:var(--{role})'>&#9679;</i>{escape(name)}</span>" for role, name in marks if name
    )
    meaning = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in SLICES.items())
    return f"<div class=card><div class=legend>{shown}</div><dl>{meaning}</dl></div>"


def _metrics(table: Table) -> str:
    head = "".join(f"<th>{escape(metric_name(key))}</th>" for key in COLUMNS)
    rows = "".join(_metrics_row(one) for one in table.summaries)
    return (
        "<div class=card><div class=scroll><table class=dense><thead><tr><th>system</th>"
        f"{head}<th>seeds</th><th>training</th><th>users/s</th><th>parameters</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        + note(
            "Means over seeds. Beside the values: 95 % bootstrap intervals over users; beside the number of seeds: the "
            "standard deviation of NDCG@10 over them."
        )
        + "</div>"
    )


def _metrics_row(one: Summary) -> str:
    cells = []
    for key in COLUMNS:
        value, interval = with_interval(one, key)
        cells.append(value + (f"<small>{interval}</small>" if interval else ""))
    spread = f"<small>±{one.spread['ndcg@10']:.4f}</small>" if one.spread else ""
    cells.append(f"{len(one.seeds)}{spread}")
    cells.append(escape(training_time(one)))
    cells.append("" if one.users_per_second is None else f"{one.users_per_second:,.0f}")
    cells.append("" if one.parameters is None else count(one.parameters))
    mark = {"deftrec": ' class="main"', "part": ' class="part"', "peer": ""}[one.role]
    unknown = "<small>fit unknown</small>" if one.fit == "unknown" else ""
    return f"<tr{mark}><td>{escape(one.name)}{unknown}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _slice_table(table: Table) -> str:
    groups = [(by, len(list(parts))) for by, parts in groupby(part.by for part in table.slices)]
    above = "".join(f"<th class=group colspan={size}>{escape(by)}</th>" for by, size in groups)
    head = "".join(f"<th>{escape(part.name)}<br><small>{part.users:,} users</small></th>" for part in table.slices)
    rows = "".join(
        f"<tr{' class=main' if one.role == 'deftrec' else ''}><td>{escape(one.name)}</td>"
        + "".join(_slice_cell(part, one.name) for part in table.slices)
        + "</tr>"
        for one in table.summaries
    )
    return (
        "<div class='card scroll' style='margin-top:10px'><table class=dense><thead>"
        f"<tr><th></th>{above}</tr><tr><th>NDCG@10<br><small>HR@10</small></th>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _slice_cell(part: Slice, name: str) -> str:
    values = part.metrics[name]
    return f"<td>{values['ndcg@10']:.4f}<br><small>{values['hr@10']:.4f}</small></td>"


def _measured(table: Table) -> str:
    return f"<div class=card><p class=first>{escape(how_measured(table))}</p>{facts_list(facts(table))}</div>"


def _settings(rows: Sequence[Row]) -> str:
    """What was trained, a line to open for each system and seed."""
    lines = "".join(
        details(
            f"{row.name}, seed {row.seed} ({row.library})", f"<pre>{escape(json.dumps(row.settings, indent=2))}</pre>"
        )
        for row in rows
    )
    return f"<div class='card settings'>{lines}</div>"
