"""`deftrec benchmark`: DeftRec beside every peer on the same data, with intervals, costs and a report.

`deftrec benchmark index` measures something else (`deftrec.cli.index`).
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from deftrec.cli.console import Listener, Stopped, listening, output, page_if_possible, working
from deftrec.cli.index import index
from deftrec.cli.options import DataFolder, Json, Overrides, command_line
from deftrec.cli.tables import benchmark_table
from deftrec.data.split import SplitName
from deftrec.errors import ConfigError

if TYPE_CHECKING:
    from deftrec.benchmark import Table
    from deftrec.config import Config
    from deftrec.data import Interactions

BOTH: Final = "both"
PEERS: Final = "peers"
"""What `deftrec benchmark` measures where no other word says it."""
DEFAULTS = {"seeds": 1, "split": "leave-one-out", "fit": BOTH, "seen": BOTH}


class Benchmark(TyperGroup):
    """`deftrec benchmark --data ...` is of peers; the name of something else may stand before the options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `TyperGroup`."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else [PEERS, *args])


app = typer.Typer(cls=Benchmark, help="DeftRec beside its peers; with 'index', the indexes of the service.")
app.command()(index)


@app.command(PEERS)
def benchmark(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="The report's folder; what it holds finished is kept.", metavar="REPORT")],
    models: Annotated[
        str | None, typer.Option(help="Whom to compare with; everybody unless said.", metavar="A,B,...")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often everything random is trained.", metavar="N")] = 1,
    peer_seeds: Annotated[
        int | None, typer.Option(help="The same for all but DeftRec; as often unless said.", metavar="N")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Most time of a peer's search for settings, and of DeftRec's joint stage.", metavar="MINUTES"
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Of DeftRec; the one with the data's name if there is one, else 'default'.", metavar="NAME"),
    ] = None,
    overrides: Overrides = None,
    split: Annotated[SplitName, typer.Option(help="How targets are held out.")] = "leave-one-out",
    fit: Annotated[Literal["train", "train+validation", "both"], typer.Option(help="What is fitted.")] = BOTH,
    seen: Annotated[
        Literal["exclude", "keep", "both"], typer.Option(help="Whether items of the history may be recommended.")
    ] = BOTH,
    without_clones: Annotated[
        bool, typer.Option("--without-clones", help="Drop users whose whole sequence ten or more users share.")
    ] = False,
    rankings: Annotated[
        list[str] | None,
        typer.Option(help="A row of your own: Parquet of user, item, rank, score; repeatable.", metavar="NAME=FILE"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train DeftRec and its peers on the same data, compare them, and write a report.

    Called again after an interruption, it goes on with what is not finished; called twice at once, the calls share the
    work. Exit code 1 says that a system failed; the others are reported all the same. 'deftrec benchmark index'
    measures the indexes of the service.

    Example: deftrec benchmark --data data/ml-100k --out reports/ml-100k --models ease-recency,sasrec --seeds 3
    """
    command = command_line(
        "benchmark", DEFAULTS, data=data, out=out, models=models, seeds=seeds, peer_seeds=peer_seeds, budget=budget,
        recipe=recipe, set=overrides, split=split, fit=fit, seen=seen, without_clones=without_clones,
        rankings=rankings,
    )  # fmt: skip
    brought = _named_files(rankings or [])
    try:
        with listening() as progress:
            interactions = _data(data, without_clones, progress)
            with working(progress, "loading the libraries"):
                from deftrec.benchmark import Request, all_systems, choose_models, run_benchmark
                from deftrec.benchmark.machine import versions
                from deftrec.benchmark.tables import DEFTREC
                from deftrec.report.benchmark import write_benchmark

            systems = all_systems()
            asked = None if models is None else [name.strip() for name in models.split(",") if name.strip()]
            chosen = choose_models(asked, list(systems))
            request = Request(
                data=interactions.fingerprint,
                split=split,
                fits=("train", "train+validation") if fit == BOTH else (fit,),
                seens=("exclude", "keep") if seen == BOTH else (seen,),
                budget_minutes=budget,
                config=_config(recipe, interactions.meta.name, overrides),
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
                progress=progress,
            )
            page = page_if_possible(lambda: write_benchmark(tables, out), progress)
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command goes on with what is not finished") from None
    _show(tables, out, page, as_json)


def _named_files(texts: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        name, sign, file = text.partition("=")
        if not sign or not name or not file:
            raise ConfigError(f"--rankings {text!r}: write NAME=FILE, for example mine=rankings.parquet")
        if name in files:
            raise ConfigError(f"--rankings {text!r}: there is a file of that name already; call it otherwise")
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


def _config(recipe: str | None, dataset: str, overrides: list[str] | None) -> "Config":
    """The recipe that was named, else the one that has the data's name, else `default`."""
    from deftrec.recipe import load_recipe, shipped_recipes

    own = dataset if dataset in shipped_recipes() else "default"
    return load_recipe(recipe or own, overrides)


def _show(tables: "list[Table]", out: Path, page: Path | None, as_json: bool) -> None:
    from deftrec.benchmark.verdict import failures_line

    if as_json:
        print((out / "results.json").read_text(encoding="utf-8"), end="")
    else:
        console = output()
        for table in tables:
            console.print(benchmark_table(table, console.width))
        console.print(f"results: {out / 'results.json'}", markup=False)
        if page is not None:
            console.print(f"report: {page}", markup=False)
    if tables[0].failures:
        print(f"error: {failures_line(tables[0].failures)}", file=sys.stderr)
        raise typer.Exit(1)
