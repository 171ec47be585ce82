"""`deftrec benchmark`: DeftRec beside its peers on the same data."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from deftrec.cli.console import Listener, Stopped, give, listening, output, page_if_possible, working
from deftrec.cli.options import DataFolder, Json, JsonFile, Overrides, command_line, flag, option
from deftrec.cli.tables import benchmark_table
from deftrec.cli.threads import settle_threads
from deftrec.data.split import SplitName
from deftrec.errors import ConfigError

if TYPE_CHECKING:
    from deftrec.benchmark import BenchmarkTable
    from deftrec.data import Interactions

BOTH: Final = "both"
DEFAULTS = {"seeds": 1, "split": "leave-one-out", "fit": BOTH, "seen": BOTH}


def benchmark(
    data: DataFolder,
    out: Annotated[Path, option("Folder of the report; finished work in it is kept.", "REPORT")],
    models: Annotated[str | None, option("Systems to compare with; default: all.", "A,B,...")] = None,
    seeds: Annotated[int, option("Number of seeds.", "N")] = 1,
    peer_seeds: Annotated[int | None, option("Number of seeds of the peers; default: --seeds.", "N")] = None,
    budget: Annotated[
        float | None, option("Longest tuning of a peer, and longest joint training, per seed.", "MINUTES")
    ] = None,
    recipe: Annotated[
        str | None, option("Recipe of DeftRec; default: the one named like the data, else 'default'.", "NAME")
    ] = None,
    overrides: Overrides = None,
    split: Annotated[SplitName, option("Split that holds out the targets.")] = "leave-one-out",
    fit: Annotated[Literal["train", "train+validation", "both"], option("Part of the data to fit.")] = BOTH,
    seen: Annotated[Literal["exclude", "keep", "both"], option("Exclude or keep items of the history.")] = BOTH,
    without_clones: Annotated[
        bool, flag("--without-clones", "Drop users whose sequence ten or more users share.")
    ] = False,
    rankings: Annotated[
        list[str] | None, option("Add a row from a Parquet file of user, item, rank, score; repeatable.", "NAME=FILE")
    ] = None,
    allow_dirty: Annotated[
        bool, flag("--allow-dirty", "Run with uncommitted changes, and store them beside the results.")
    ] = False,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Train DeftRec and its peers on the same data, compare them, and write a report.

    The same command continues after an interruption.
    Several such commands at the same time share the work.
    Exit code 1 means that a system failed; the report holds the others.

    Example: deftrec benchmark --data data/ml-100k --out reports/ml-100k --models ease-recency,sasrec --seeds 3
    """
    command = command_line(
        "benchmark", DEFAULTS, data=data, out=out, models=models, seeds=seeds, peer_seeds=peer_seeds, budget=budget,
        recipe=recipe, set=overrides, split=split, fit=fit, seen=seen, without_clones=without_clones,
        rankings=rankings, allow_dirty=allow_dirty,
    )  # fmt: skip
    brought = _named_files(rankings or [])
    try:
        with listening() as progress:
            interactions = _data(data, without_clones, progress)
            with working(progress, "loading the libraries"):
                from deftrec.benchmark import BenchmarkRequest, all_systems, choose_models, run_benchmark
                from deftrec.benchmark.machine import versions
                from deftrec.benchmark.tables import DEFTREC
                from deftrec.recipe import load_recipe, shipped_recipes
                from deftrec.report.benchmark import write_benchmark

            settle_threads(progress)
            systems = all_systems()
            wanted = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
            chosen = choose_models(wanted, list(systems))
            own = interactions.meta.name if interactions.meta.name in shipped_recipes() else "default"
            request = BenchmarkRequest(
                data=interactions.fingerprint,
                split=split,
                fits=("train", "train+validation") if fit == BOTH else (fit,),
                seens=("exclude", "keep") if seen == BOTH else (seen,),
                budget_minutes=budget,
                config=load_recipe(recipe or own, overrides),
                versions=versions(),
            )
            tables = run_benchmark(
                interactions,
                request,
                [systems[name] for name in dict.fromkeys([DEFTREC, *chosen])],
                out,
                seeds=seeds,
                peer_seeds=peer_seeds,
                rankings=brought,
                command=command,
                allow_dirty=allow_dirty,
                progress=progress,
            )
            page = page_if_possible(lambda: write_benchmark(tables, out), progress)
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command continues with the unfinished work") from None
    _show(tables, out, page, as_json, json_file)


def _named_files(texts: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        name, sign, file = text.partition("=")
        if not sign or not name or not file:
            raise ConfigError(f"--rankings {text!r}: write NAME=FILE, for example mine=rankings.parquet")
        if name in files:
            raise ConfigError(f"--rankings {text!r}: another file has that name; choose another")
        files[name] = Path(file)
    return files


def _data(folder: Path, without: bool, progress: Listener) -> "Interactions":
    with working(progress, f"reading {folder}"):
        from deftrec.data import Interactions
        from deftrec.data.clones import without_clones

        whole = Interactions.load(folder)
        interactions = without_clones(whole) if without else whole
    if without:
        progress.say(f"{whole.n_users - interactions.n_users:,} clones dropped of {whole.n_users:,} users")
    return interactions


def _show(tables: "list[BenchmarkTable]", out: Path, page: Path | None, as_json: bool, file: Path | None) -> None:
    from deftrec.benchmark.verdict import failures_line

    if not give(json.loads((out / "results.json").read_text(encoding="utf-8")), as_json, file):
        console = output()
        for table in tables:
            console.print(benchmark_table(table))
        console.print(f"results: {out / 'results.json'}", markup=False)
        if page is not None:
            console.print(f"report: {page}", markup=False)
    if tables[0].failures:
        print(f"error: {failures_line(tables[0].failures)}", file=sys.stderr)
        raise typer.Exit(1)
