"""Render pages from templates: one file without scripts or links, and every value of the data escaped."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from deftrec.benchmark.verdict import training_time
from deftrec.errors import MissingExtraError
from deftrec.formatting import count, metric_name, with_interval
from deftrec.report.theme import variables

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy of every page: the browser fetches nothing and runs nothing."""


def render(template: str, folder: Path | None = None, **values: Any) -> str:
    """Render a template of `deftrec/report/templates`, or of `folder`, where it may extend those.

    Args:
        template: file name; a template that extends `base.html` needs the values `title`, `sentence` and `tiles`.
        folder: further folder of templates.
        values: variables of the template. Strings are escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise MissingExtraError("jinja2", "report", "drawing the report") from error
    loaders = [jinja2.PackageLoader("deftrec.report"), *([jinja2.FileSystemLoader(folder)] if folder else [])]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "metric_name": metric_name,
        "count_text": count,
        "training_time": training_time,
        "pretty": lambda value: json.dumps(value, indent=2),
    }
    style = variables() + files("deftrec.report").joinpath("style.css").read_text(encoding="utf-8")
    environment.globals |= {"style": Markup(style), "policy": Markup(POLICY), "with_interval": with_interval}  # noqa: S704
    return environment.get_template(template).render(**values)
