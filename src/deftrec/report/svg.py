"""Plots in the style of the report, and their conversion to inline SVG."""

import io
import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from html import escape
from typing import Any

from deftrec.errors import MissingExtraError
from deftrec.report.theme import fill_in, stand_in


def empty_plot(size: tuple[float, float]) -> tuple[Any, Any]:
    """Make an empty plot without top and right edge."""
    with _style():
        figure = matplotlib("figure").Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(stand_in("axis"))
    axes.tick_params(color=stand_in("axis"), labelcolor=stand_in("soft"), labelsize=9, length=3)
    return figure, axes


def as_svg(figure: Any, salt: str, label: str) -> str:
    """Convert a plot to an SVG element without metadata or fixed size, with ids that are unique on the page."""
    buffer = io.StringIO()
    with _style(salt):
        none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=none)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    opening, _, rest = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box is not None
    prefix = re.sub(r"\W+", "-", salt.lower())
    rest = re.sub(r'\bid="', f'id="{prefix}-', rest)
    rest = re.sub(r"url\(#", f"url(#{prefix}-", rest)
    rest = re.sub(r'xlink:href="#', f'href="#{prefix}-', rest)
    return f'<svg {box.group()} role="img" aria-label="{escape(label)}">' + fill_in(rest)


def _style(salt: str = "") -> AbstractContextManager[None]:
    """Keep text as text, show dollar signs unchanged, and make the output reproducible."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False, "font.size": 9.5}
    context: Callable[[dict[str, Any]], AbstractContextManager[None]] = matplotlib().rc_context
    return context(settings)


def matplotlib(part: str = "") -> Any:
    """Import matplotlib, or a part of it.

    Raises:
        MissingExtraError: it is not installed.
    """
    from importlib import import_module

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        return import_module(f"matplotlib.{part}" if part else "matplotlib")
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "report", "drawing the report") from error
