"""Render pages and Markdown files from templates, with every value of the data escaped."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from deftrec.errors import MissingExtraError
from deftrec.report.theme import variables

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy of every page: the browser fetches nothing and runs nothing."""
Cell: TypeAlias = tuple[str, str]  # text of a cell, and its small print; empty for none
_SPECIAL = str.maketrans({character: "\\" + character for character in "\\`*_[]<>#|~"})


def render(template: str, folder: Path | None = None, **values: Any) -> str:
    """Render a template of `deftrec/report/templates`, or of `folder`, where it may extend those.

    Raises a `MissingExtraError` if jinja2, which torch brings, is not installed.

    Args:
        template: file name. A template that extends `base.html` needs the values `title`, `sentence` and `tiles`; the
            values of a template `*.md` are escaped for Markdown.
        folder: further folder of templates.
        values: variables of the template. Strings are escaped.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise MissingExtraError("jinja2", "report", "drawing the report") from error

    def for_markdown(value: Any) -> Any:
        return value if isinstance(value, Markup) else Markup(plain(str(value)))  # noqa: S704 - escaped

    def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Any:
        texts = [[f"{text} ({small})" if small else text for text, small in row] for row in rows]
        return Markup("\n".join(table_lines(head, texts)))  # noqa: S704 - escaped

    loaders = [jinja2.PackageLoader("deftrec.report"), *([jinja2.FileSystemLoader(folder)] if folder else [])]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=for_markdown if template.endswith(".md") else None,
    )  # fmt: skip
    style = variables() + files("deftrec.report").joinpath("style.css").read_text(encoding="utf-8")
    environment.globals |= {"style": Markup(style), "policy": Markup(POLICY), "table": table}  # noqa: S704
    return environment.get_template(template).render(**values)


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Build a Markdown table; its head and first `words` columns are text of the data, its other cells are figures."""
    lines = ["| " + " | ".join(map(plain, head)) + " |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return lines + ["| " + " | ".join([*map(plain, row[:words]), *row[words:]]) + " |" for row in rows]


def plain(text: str) -> str:
    """Escape text of the data for Markdown, so that no character of it is markup."""
    return " ".join(text.split()).translate(_SPECIAL)
