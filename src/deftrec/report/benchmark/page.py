"""A benchmark as one HTML file: a section a table, then how it was measured; every word of the data is escaped."""

import json
from collections.abc import Mapping, Sequence
from html import escape

from deftrec.benchmark.tables import Row, Slice, Summary, Table
from deftrec.benchmark.verdict import asked, how_measured, p_value, ratio, verdict
from deftrec.report.benchmark.facts import facts, table_title
from deftrec.report.html import details, document, facts_list, grid, header, note, section
from deftrec.wording import duration, metric_name, with_interval

COLUMNS = ("hr@10", "ndcg@10", "mrr", "coverage@10")


def page(tables: Sequence[Table], plots: Sequence[Mapping[str, Mapping[str, str]]]) -> str:
    """The whole document.

    Args:
        tables: of one benchmark, the first one above all.
        plots: of each table: `comparisons`, `costs` and `slices`, SVG by title.
    """
    first = tables[0]
    peers = sum(one.role == "peer" for one in first.summaries)
    title = f"DeftRec on {first.dataset}, beside {peers} other{'' if peers == 1 else 's'}"
    parts = [header(title, verdict(first), _tiles(first)), _links(tables), _failures(first)]
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


def _failures(table: Table) -> str:
    if not table.failures:
        return ""
    rows = "".join(
        f"<li><b>{escape(one.name)}</b>, seed {one.seed}: {escape(one.reason)}</li>" for one in table.failures
    )
    return section("Not measured", f"<div class='card failed'><ul>{rows}</ul></div>")


def _table_section(table: Table, drawn: Mapping[str, Mapping[str, str]], first: bool) -> str:
    sentence = "" if first else f"<p>{escape(verdict(table))}</p>"
    more = (
        f"<h3 class=above>What it costs</h3>{grid(drawn['costs'])}"
        f"<h3 class=above>For whom</h3>{_legend(table)}{grid(drawn['slices'])}"
        f"{note(SLICES)}{details('Every system in every slice', _slice_table(table))}"
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


SLICES = (
    "History length: quarters of the users. Popularity: head, torso and tail items are those within the first, second "
    "and last third of all training interactions, the most popular first; cold items have none. Repeated: the "
    "target was in the user's history, which is a certain miss where seen items are excluded."
)


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
    return f"<div class=legend>{shown}</div>"


def _metrics(table: Table) -> str:
    head = "".join(f"<th>{escape(metric_name(key))}</th>" for key in COLUMNS)
    rows = "".join(_metrics_row(one) for one in table.summaries)
    return (
        "<div class=card><div class=scroll><table><thead><tr><th>system</th>"
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
    cells.append("" if one.train_seconds is None else escape(duration(one.train_seconds)))
    cells.append("" if one.users_per_second is None else f"{one.users_per_second:,.0f}")
    cells.append("" if one.parameters is None else f"{one.parameters:,}")
    mark = {"deftrec": ' class="main"', "part": ' class="part"', "peer": ""}[one.role]
    unknown = "<small>fit unknown</small>" if one.fit == "unknown" else ""
    return f"<tr{mark}><td>{escape(one.name)}{unknown}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _slice_table(table: Table) -> str:
    head = "".join(
        f"<th>{escape(part.name)}<br><small>{escape(part.by)}<br>{part.users:,} users</small></th>"
        for part in table.slices
    )
    rows = "".join(
        f"<tr{' class=main' if one.role == 'deftrec' else ''}><td>{escape(one.name)}</td>"
        + "".join(_slice_cell(part, one.name) for part in table.slices)
        + "</tr>"
        for one in table.summaries
    )
    return (
        f"<div class='card scroll' style='margin-top:10px'><table><thead><tr><th>NDCG@10<br><small>HR@10</small></th>"
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
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
