"""`deftrec evaluate`: a run, or the rankings of any system, on the targets of a run's data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from deftrec.cli.console import give, listening, output, working
from deftrec.cli.measure import load_recommender
from deftrec.cli.options import Json, JsonFile, RunFolder, Seen, option
from deftrec.cli.tables import metrics_table
from deftrec.data.split import Part
from deftrec.errors import ConfigError
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.evaluation import Result


def evaluate(
    run: RunFolder,
    split: Annotated[Part, option("Part whose targets are evaluated.")] = "test",
    seen: Seen = "exclude",
    rankings: Annotated[
        Path | None,
        option("Evaluate rankings from a file (user, item, rank, score) instead of the run's model.", "FILE.parquet"),
    ] = None,
    target_kind: Annotated[str | None, option("Kind of event that targets have; default: any.", "KIND")] = None,
    min_value: Annotated[float | None, option("Minimum value (rating) of a target; default: any.", "X")] = None,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Rank every item for every target of a part, and compute metrics.

    Example: deftrec evaluate runs/ml-100k --split test --seen exclude --json-file result.json
    """
    with listening() as progress:
        if rankings is not None:
            if target_kind is not None or min_value is not None:
                raise ConfigError("--target-kind and --min-value choose targets of a run; leave out --rankings")
            results = [_evaluate_rankings(run, rankings, split, seen, progress)]
        else:
            recommender = load_recommender(run, progress)
            if split == "validation" and recommender.info.fit == "train+validation":
                progress.say("warning: this run was fitted on the validation targets, so these values are too high")
            with working(progress, f"ranking the {split} targets of {recommender.interactions.meta.name}"):
                parts = recommender.evaluate_parts(split, seen, target_kind=target_kind, min_value=min_value)
                results = list(parts.values())
    whole: dict[str, Any] = results[0].to_json_dict()
    if len(results) > 1:
        whole["parts"] = {part.name.partition("/")[2]: part.metrics for part in results[1:]}
    if not give(whole, as_json, json_file):
        output().print(metrics_table(results))


def _evaluate_rankings(run: Path, rankings: Path, split: Part, seen: str, progress: Progress) -> "Result":
    """Evaluate a file of rankings with the run's data and split; the model is not loaded."""
    with working(progress, f"reading {rankings}"):
        from deftrec.data import make_split
        from deftrec.evaluation import evaluate_file
        from deftrec.run import read_run

        interactions, config, _ = read_run(run)
        parts = make_split(interactions, config.data.split)
        popularity = parts.training("train").counts(interactions.n_items)
        how: dict[str, Any] = {"name": rankings.stem, "part": split, "seen": seen, "fit": "unknown"}
        result, read = evaluate_file(rankings, interactions, parts, popularity, **how)
    for line in read.remarks(split, parts.name):
        progress.say(line)
    return result
