"""Parts of a page: one file, nothing is fetched, nothing runs. What is called text is escaped here, markup is not."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from deftrec.report.theme import variables

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser is told to fetch nothing and to run nothing, whatever a title may hold."""


def document(title: str, body: str) -> str:
    """The whole page: title as text, body as markup."""
    style = variables() + files("deftrec.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def header(title: str, sentence: str, tiles: Sequence[tuple[str, str]]) -> str:
    """The head of a page; tiles are pairs of value and name. All of it text."""
    boxes = "".join(f"<div class=tile><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in tiles)
    return f"<header><h1>{escape(title)}</h1><p>{escape(sentence)}</p><div class=tiles>{boxes}</div></header>"


def section(title: str, *parts: str) -> str:
    """A part of the page under a title of text; the parts are markup."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def failed(reasons: Sequence[tuple[str, str]]) -> str:
    """Who is missing and why, as a part of the page; nothing where nobody is. All of it text."""
    rows = "".join(f"<li><b>{escape(who)}</b>: {escape(reason)}</li>" for who, reason in reasons)
    return section("Not measured", f"<div class='card failed'><ul>{rows}</ul></div>") if rows else ""


def note(text: str) -> str:
    """A remark in small letters."""
    return f"<p class=note>{escape(text)}</p>"


def grid(figures: Mapping[str, str], last: str = "") -> str:
    """Plots side by side where there is room: titles as text, plots as markup, and what comes last as markup."""
    drawn = "".join(f"<figure><h3>{escape(title)}</h3>{svg}</figure>" for title, svg in figures.items())
    return f'<div class=grid style="margin-top:14px">{drawn}{last}</div>'


def facts_list(facts: Mapping[str, str]) -> str:
    """Names and values, both text."""
    return (
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()) + "</dl>"
    )


def details(summary: str, markup: str) -> str:
    """What is shown on demand, under a line of text."""
    return f"<details><summary>{escape(summary)}</summary>{markup}</details>"
