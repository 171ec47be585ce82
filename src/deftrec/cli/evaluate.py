"""`deftrec evaluate`: a run, or any other system's rankings, on the targets of a run's data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deftrec.cli.console import listening, output, working
from deftrec.cli.loading import load_recommender
from deftrec.cli.options import RunFolder, Seen
from deftrec.cli.tables import metrics_table
from deftrec.data.split import Part
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.evaluation import Result


def evaluate(
    run: RunFolder,
    split: Annotated[Part, typer.Option(help="Which targets are asked for.")] = "test",
    seen: Seen = "exclude",
    rankings: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate these rankings (Parquet: user, item, rank, score) instead of the run's model.",
            metavar="FILE.parquet",
        ),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write the result as JSON; '-' is stdout.", metavar="FILE")
    ] = None,
) -> None:
    """Rank every item for every target of a split, and measure.

    Example: deftrec evaluate runs/ml-100k --split test --seen exclude --json result.json
    """
    with listening() as progress:
        if rankings is not None:
            results = [_evaluate_rankings(run, rankings, split, seen, progress)]
        else:
            recommender = load_recommender(run, progress)
            if split == "validation" and recommender.info.fit == "train+validation":
                progress.say("warning: this run was fitted on the validation targets; these numbers flatter it")
            with working(progress, f"ranking the {split} targets of {recommender.interactions.meta.name}"):
                results = list(recommender.evaluate_parts(split, seen).values())
    if json_file != "-":
        console = output()
        console.print(metrics_table(results, console.width))
    if json_file is not None:
        _write(json_file, results)


def _write(file: str, results: list["Result"]) -> None:
    """The first result, and the metrics of its parts."""
    from deftrec.files import write_json

    whole: dict[str, Any] = results[0].to_json_dict()
    if len(results) > 1:
        whole["parts"] = {part.name.partition("/")[2]: part.metrics for part in results[1:]}
    if file == "-":
        print(json.dumps(whole, indent=2, ensure_ascii=False))
    else:
        write_json(file, whole)


def _evaluate_rankings(run: Path, rankings: Path, split: Part, seen: str, progress: Progress) -> "Result":
    """Measure a file of rankings with the run's data and split; the model is not loaded."""
    with working(progress, f"reading {rankings}"):
        import torch

        from deftrec.config import Config
        from deftrec.data import Interactions, make_split
        from deftrec.errors import DeftRecError
        from deftrec.evaluation import evaluate as evaluate_ranks
        from deftrec.evaluation import read_rankings
        from deftrec.run import read_model

        if not (run / "config.json").is_file():
            raise DeftRecError(f"{run}: no config.json; give the directory that 'deftrec train --out' wrote")
        config = read_model(run / "config.json", Config)
        interactions = Interactions.load(run / "data")
        parts = make_split(interactions, config.data.split)
        protocol: Any = seen
        read = read_rankings(rankings, interactions, parts.cases(split), protocol)
        popularity = parts.training("train").counts(interactions.n_items)
        result = evaluate_ranks(
            read.ranks,
            read.top_items,
            torch.from_numpy(popularity),
            name=rankings.stem,
            dataset=interactions.meta.name,
            protocol=parts.name,
            split=split,
            seen=protocol,
            fit="unknown",
        )
    for line in read.remarks(split, parts.name):
        progress.say(line)
    return result
