"""Load a run, and measure it: `metrics.json` always, the report with the extra `report`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deftrec.cli.console import page_if_possible, working
from deftrec.cli.threads import settle_threads
from deftrec.errors import DeftRecError
from deftrec.files import write_json
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.data.split import Part
    from deftrec.evaluation import Result
    from deftrec.hardware import Precision, Runtime
    from deftrec.recommender import Recommender
    from deftrec.report import Example

METRICS_FILE = "metrics.json"


def load_recommender(
    run: Path, progress: Progress, precision: "Precision" = "fp32", runtime: "Runtime" = "torch"
) -> "Recommender":
    """Load the recommender of a run directory, with progress shown before the slow imports."""
    with working(progress, f"loading {run}"):
        from deftrec.recommender import Recommender

        settle_threads(progress)
        return Recommender.load(run, precision=precision, runtime=runtime)


def measure(recommender: "Recommender", run: Path, progress: Progress) -> list["Result"]:
    """Measure the score and its parts on validation and test, and write `metrics.json`.

    Seen items follow the rule that the run was trained for. A run fitted on validation too is measured on test only.
    """
    from deftrec.data import make_split

    split = make_split(recommender.fitted_on, recommender.config.data.split)
    parts: list[Part] = ["test"] if recommender.info.fit == "train+validation" else ["validation", "test"]
    results: list[Result] = []
    for part in parts:
        if len(split.cases(part)):
            with working(progress, f"ranking the {part} targets"):
                results += recommender.evaluate_parts(part, recommender.config.retrieval.seen).values()
        else:
            progress.say(f"no user has a {part} target, so {part} is not measured")
    write_json(run / METRICS_FILE, {"results": [result.to_json_dict() for result in results]})
    return results


def read_results(run: Path) -> list["Result"]:
    """Read the results of `measure`; empty if there are none. Raises `DeftRecError` if the file is damaged."""
    file = run / METRICS_FILE
    if not file.is_file():
        return []
    from deftrec.evaluation import Result

    try:
        return [Result.model_validate(row) for row in json.loads(file.read_text(encoding="utf-8"))["results"]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DeftRecError(f"{file}: damaged; delete it, and the run is measured again") from error


def report_if_possible(
    recommender: "Recommender",
    results: Sequence["Result"],
    run: Path,
    progress: Progress,
    examples: Sequence["Example"] | None = None,
) -> Path | None:
    """Write the HTML report and return its path; None, with a line to `progress`, without the extra `report`."""
    from deftrec.report import write_report

    return page_if_possible(lambda: write_report(recommender, results, run / "report", examples), progress, "report")
