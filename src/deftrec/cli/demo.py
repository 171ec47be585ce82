"""`deftrec demo`: everything on real data, once; what lies there already is shown, what was interrupted goes on."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from deftrec.cli.console import Listener, Stopped, listening, output, working
from deftrec.cli.loading import load_recommender
from deftrec.cli.measure import measure, read_results, report_if_possible
from deftrec.cli.options import Overrides, Recipe
from deftrec.cli.tables import metrics_table
from deftrec.errors import DeftRecError
from deftrec.formatting import peer_said

if TYPE_CHECKING:
    from deftrec.config import Config
    from deftrec.data import Interactions
    from deftrec.evaluation import Result
    from deftrec.recommender import Recommender
    from deftrec.report import Example

DATASET = "ml-100k"
PEERS = ("popularity", "item-knn", "ease")
SHOWN_HISTORY, SHOWN_RECOMMENDATIONS = 4, 5


def demo(
    out: Annotated[Path, typer.Option(help="The run directory.", metavar="RUN")] = Path("runs/demo"),
    recipe: Recipe = "minilm",
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Train again, in place of the run that lies there.")] = False,
) -> None:
    """Fetch MovieLens-100K, train, evaluate beside other recommenders, recommend, and write a report.

    A finished run is shown again without training; an interrupted one goes on where it stopped.

    Example: deftrec demo
    """
    from deftrec.recipe import load_recipe

    config = load_recipe(recipe, overrides)
    if force:
        _remove(out)
    try:
        with listening() as progress:
            recommender = _trained(out, config, progress)
            results = _measured(recommender, out, progress)
            with working(progress, "recommending"):
                from deftrec.report import pick_examples

                examples = pick_examples(recommender)
            page = report_if_possible(recommender, results, out, progress, examples)
    except KeyboardInterrupt:
        raise Stopped("interrupted; 'deftrec demo' goes on where it stopped") from None
    console = output()
    tested = [result for result in results if result.split == "test"]
    console.print(metrics_table(tested, console.width))
    _print_examples(examples, console)
    console.print(Text(f"run: {out}"))
    if page is not None:
        console.print(Text(f"report: {page}"))


def _trained(out: Path, config: "Config", progress: Listener) -> "Recommender":
    """The run of `out`: loaded if it is complete, else trained from where it stands."""
    if (out / "run.json").is_file():
        from deftrec.run import Request, read_model

        progress.say(f"{out} holds a finished run, which is shown; --force trains again")
        if read_model(out / "request.json", Request).config != config:
            progress.say("warning: that run was trained with other options than these")
        return load_recommender(out, progress)
    interactions = _data(progress)
    with working(progress, "loading the libraries"):
        from deftrec.recommender import Recommender
    resume = (out / "request.json").is_file()
    if resume:
        progress.say(f"{out} holds an interrupted run, which goes on; --force starts again")
    return Recommender.fit(interactions, config, out=out, resume=resume, progress=progress)


def _data(progress: Listener) -> "Interactions":
    """MovieLens-100K, from the cache once it has been fetched."""
    from deftrec.data import Interactions
    from deftrec.data.download import default_home
    from deftrec.data.prepare import prepare
    from deftrec.data.sources.registry import source_named

    folder = default_home() / "data" / DATASET
    if (folder / "meta.json").is_file():
        with working(progress, f"reading {folder}"):
            return Interactions.load(folder)
    source = source_named(DATASET)
    raw = source.fetch(on_progress=progress.bytes, say=progress.say)
    with working(progress, f"preparing {raw.events.height:,} interactions"):
        interactions = prepare(raw, name=source.about.name, domain=source.about.domain)
        interactions.save(folder)
    return interactions


def _measured(recommender: "Recommender", out: Path, progress: Listener) -> list["Result"]:
    """DeftRec on validation and test, and every peer on test; what was measured before is read."""
    results = read_results(out) or measure(recommender, out, progress)
    missing = [name for name in PEERS if not (out / "peers" / name / "result.json").is_file()]
    if missing:
        from deftrec.benchmark.peers import run_peers
        from deftrec.data import make_split

        split = make_split(recommender.fitted_on, recommender.config.data.split)
        run_peers(
            recommender.fitted_on,
            split,
            missing,
            out / "peers",
            recommender.info.fit,
            on_progress=lambda line: progress.say(peer_said(line)),
        )
    from deftrec.evaluation import Result
    from deftrec.run import read_model

    return results + [read_model(out / "peers" / name / "result.json", Result) for name in PEERS]


def _remove(out: Path) -> None:
    """Delete a run, and nothing that is no run.

    Raises:
        DeftRecError: there is something else in `out`.
    """
    if not out.exists():
        return
    if not (out / "request.json").is_file():
        raise DeftRecError(f"{out}: is no run, so --force does not remove it; give another --out")
    shutil.rmtree(out)


def _print_examples(examples: Sequence["Example"], console: Console) -> None:
    """Users by the titles of what they took, what is recommended, and what they took next."""
    for one in examples:
        console.print(Text(f"user {one.user}", style="bold"))
        console.print(Text(f"  took         {'; '.join(one.titles[-SHOWN_HISTORY:])}"))
        for item in one.recommendations[:SHOWN_RECOMMENDATIONS]:
            label = "recommended" if item.rank == 1 else ""
            console.print(
                Text(f"  {label:<12} {item.rank}. {item.title}", style="green" if item.rank == one.place else "")
            )
        found = f"rank {one.place}" if one.place else f"not among the first {len(one.recommendations)}"
        console.print(Text(f"  took next    {one.target} ({found})\n"))
