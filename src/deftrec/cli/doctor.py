"""`deftrec doctor`: what a recipe or a run costs, before anything is trained."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Column
from rich.text import Text

from deftrec.cli.console import give, listening, output, working
from deftrec.cli.fitting import FittingTable
from deftrec.cli.options import Json, JsonFile, Overrides, argument, option

if TYPE_CHECKING:
    from deftrec.doctor import Examination


def doctor(
    subject: Annotated[
        str,
        argument("A run's directory, a recipe's YAML file, or the name of a recipe that is shipped.", "RUN_OR_RECIPE"),
    ],
    items: Annotated[
        int | None, option("Size of the catalogue; the data's own, else 10,000.", "N", min=1, max=10**12)
    ] = None,
    data: Annotated[Path | None, option("The data that a recipe would be trained on.", "DIR")] = None,
    overrides: Overrides = None,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Show parameters, memory and work of a recipe or a run, from its options alone.

    The command trains nothing and reads no weights.
    For a language model on the hub, it fetches config.json at most.

    Example: deftrec doctor llama-3.2-1b --items 100000
    """
    with listening() as progress, working(progress, f"examining {subject}"):
        from deftrec.doctor import examine, subject_of

        found = examine(subject_of(subject, items=items, data=data, overrides=overrides))
    if not give(found.to_json_dict(), as_json, json_file):
        output().print(_page(found))


def _page(found: "Examination") -> RenderableType:
    whole = sum(found.parameters.values())
    reads = f"{found.prompt_tokens:,} tokens of prompt and {found.history_tokens:,} of history"
    members = f"{found.members:,} member{'' if found.members == 1 else 's'}"
    lines = [
        f"{found.name}: {found.items:,} items, {members}",
        f"language model {found.language_model} ({found.architecture}), tuning {found.tuning}, reads {reads}",
        f"{found.trained:,} of {whole:,} parameters are trained ({found.trained / whole:.2%})",
    ]
    return Group(
        *(Text(line, style="bold" if n == 0 else "") for n, line in enumerate(lines)),
        _table("parameters", found.parameters, lambda count: f"{count:,}"),
        _table("memory for training", found.training_bytes, decimal),
        _table("memory for serving", found.serving_bytes, decimal),
        _table("work for one user", found.flops_per_user, flops),
        *(Text(f"note: {note}") for note in found.notes),
    )


def _table(title: str, parts: Mapping[str, int], said: Callable[[int], str]) -> FittingTable:
    columns = Column(title, min_width=32), Column("", justify="right", min_width=16, no_wrap=True)
    table = FittingTable(*columns, footer=["together", said(sum(parts.values()))])
    for part, amount in parts.items():
        table.add_row(part, said(amount))
    return table


def flops(count: int) -> str:
    """A number of floating-point operations in the unit that suits it."""
    for unit, name in ((10**12, "TFLOP"), (10**9, "GFLOP"), (10**6, "MFLOP")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 10**3:.1f} kFLOP"
