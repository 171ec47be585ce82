"""The command `python -m studies.speed`: time of a recommendation beside other generative methods."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from deftrec.cli.console import listening, output, working
from deftrec.cli.doctor import flops
from deftrec.cli.options import DataFolder, Json, K, Overrides, Precision, Recipe
from deftrec.files import write_json
from studies.command import run

if TYPE_CHECKING:
    from studies.speed import SpeedTable


def speed(
    data: DataFolder,
    recipe: Recipe = "default",
    overrides: Overrides = None,
    systems: Annotated[
        str | None,
        typer.Option(help="Names of systems beside DeftRec, separated by commas; default: all.", metavar="A,B,..."),
    ] = None,
    users: Annotated[int, typer.Option(help="Number of histories that are answered.", min=1)] = 128,
    k: K = 10,
    precision: Precision = "auto",
    out: Annotated[Path | None, typer.Option(help="File of all figures, as JSON.", metavar="FILE.json")] = None,
    as_json: Json = False,
) -> None:
    """Time DeftRec beside SASRec, generated semantic ids, DreamRec's sampling and the authors' procedure.

    Weights are random; histories and catalogue are those of the data. On a CPU, seconds are processor time.

    Example: python -m studies.speed --data data/ml-100k --recipe minilm
    """
    from deftrec.recipe import load_recipe

    config = load_recipe(recipe, overrides)
    with listening() as progress:
        with working(progress, f"reading {data}"):
            from deftrec.data import Interactions
            from deftrec.hardware import default_device
            from studies.speed import measure_speed

            interactions = Interactions.load(data)
        table = measure_speed(
            interactions,
            config,
            systems=None if systems is None else [name.strip() for name in systems.split(",") if name.strip()],
            users=users,
            k=k,
            precision=precision,
            device=default_device(),
            progress=progress,
        )
    if out is not None:
        write_json(out, table.to_json_dict())
    if as_json:
        print(json.dumps(table.to_json_dict(), indent=2, ensure_ascii=False))
        return
    rates = table.rates
    console = output()
    console.print(
        f"{table.dataset}: {table.users:,} users of {table.history:.0f} items read each, {table.items:,} items; "
        f"{table.language_model}, {table.precision}, random weights\n"
        f"this machine: {rates.fp32 / 1e9:.0f} GFLOP/s in fp32, {rates.bf16 / 1e9:.0f} in bf16, "
        f"copies {rates.copy / 1e9:.0f} GB/s",
        markup=False,
    )
    console.print(_table(table))


def _table(table: "SpeedTable") -> Table:
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("system", no_wrap=True)
    for heading in (
        "users/s",
        "deftrec is\nfaster by",
        "ms alone",
        "deftrec is\nfaster by",
        "work a user",
        "of the\nmatrix rate",
    ):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(
            row.system,
            f"{row.users_per_second:,.1f}",
            f"{row.ratio:,.2f}",
            f"{row.milliseconds:,.2f}",
            f"{row.single_ratio:,.2f}",
            flops(round(row.flops_per_user)),
            f"{row.matrix_share:.1%}",
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(speed, "studies.speed", arguments)


if __name__ == "__main__":
    sys.exit(main())
