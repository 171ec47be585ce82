"""The command `python -m studies.ablation`: a recipe beside variants of itself, one claim of the paper a row."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from deftrec.cli.console import Stopped, listening, output, page_if_possible, working
from deftrec.cli.options import DataFolder, Json, Overrides, Recipe
from studies.command import command_line, run


def ablation(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder of the report; finished results in it are kept.", metavar="REPORT")],
    variants: Annotated[
        str | None, typer.Option(help="Names of variants, separated by commas; default: all.", metavar="A,B,...")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of trainings of each variant.", min=1, metavar="N")] = 1,
    recipe: Recipe = "default",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train variants of a recipe, one choice changed in each, and compare them with it.

    The same command continues an interrupted study. Exit code 1: a variant failed.

    Example: python -m studies.ablation --data data/ml-100k --out reports/ablation --variants pairwise,eps --seeds 3
    """
    from deftrec.recipe import load_recipe

    command = command_line(
        "studies.ablation", data=data, out=out, recipe=recipe, seeds=seeds, variants=variants, set=overrides
    )
    config = load_recipe(recipe, overrides)
    try:
        with listening() as progress:
            with working(progress, f"reading {data}"):
                from deftrec.data import Interactions
                from studies.ablation import BASE, Study, choose_variants, load_variants, write_ablation
                from studies.comparison import compare, compare_slices

                chosen = choose_variants(load_variants(), variants)
                interactions = Interactions.load(data)
            study = Study(interactions, config, chosen, seeds=seeds, work=out / "work", progress=progress)
            runs = study.run()
            with working(progress, "comparing"):
                comparisons, slices = compare(runs, BASE), compare_slices(runs, BASE, study.user_groups())
            page = page_if_possible(
                lambda: write_ablation(out, runs, comparisons, slices, chosen, study.failures, command), progress
            )
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command continues with what is not finished") from None
    if as_json:
        print((out / "results.json").read_text(encoding="utf-8"), end="")
    else:
        console = output()
        for row in comparisons:
            if (row.split, row.metric) == ("test", "ndcg@10"):
                interval = f"{row.ci95[0]:+.4f} to {row.ci95[1]:+.4f}"
                console.print(
                    f"{row.name:28} NDCG@10 {row.mean:.4f}  {row.difference:+.4f} ({interval})  p {row.p:.3f}",
                    markup=False,
                )
        console.print(f"results: {out / 'results.json'}", markup=False)
        if page is not None:
            console.print(f"report: {page}", markup=False)
    if study.failures:
        print(f"error: {'; '.join(f'{name}: {why}' for name, why in study.failures.items())}", file=sys.stderr)
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(ablation, "studies.ablation", arguments)


if __name__ == "__main__":
    sys.exit(main())
