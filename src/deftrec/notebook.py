"""Tables that notebooks show for an object."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(rows: Iterable[Sequence[object]], head: Sequence[str] = (), caption: str = "") -> str:
    """A table of texts, which are escaped; numbers stand at the right."""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{title}{f'<tr>{names}</tr>' if head else ''}{lines}</table>"


def _cell(value: object) -> str:
    side = "right" if isinstance(value, int | float) else "left"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'<td style="text-align: {side}">{escape(text)}</td>'
