"""What a finished run is worth, written into it: `metrics.json` always, the report where it can be drawn."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deftrec.cli.console import page_if_possible, working
from deftrec.errors import DeftRecError
from deftrec.files import write_json
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.data.split import Part
    from deftrec.evaluation import Result
    from deftrec.recommender import Recommender
    from deftrec.report import Example

METRICS_FILE = "metrics.json"


def measure(recommender: "Recommender", run: Path, progress: Progress) -> list["Result"]:
    """Validation and test, the hybrid and both parts, into `metrics.json`, by the rule that the run was trained for.

    A run that was fitted on validation too is measured on test alone; a part in which nobody has a target is left out.
    """
    from deftrec.data import make_split

    split = make_split(recommender.fitted_on, recommender.config.data.split)
    parts: list[Part] = ["test"] if recommender.info.fit == "train+validation" else ["validation", "test"]
    results = []
    for part in parts:
        if not len(split.cases(part)):
            progress.say(f"nobody has a {part} target, so nothing is measured there")
            continue
        with working(progress, f"ranking the {part} targets"):
            results += list(recommender.evaluate_parts(part, recommender.config.retrieval.seen).values())
    write_json(run / METRICS_FILE, {"results": [result.to_json_dict() for result in results]})
    return results


def read_results(run: Path) -> list["Result"]:
    """What `measure` wrote; empty where it has not.

    Raises:
        DeftRecError: the file is damaged.
    """
    file = run / METRICS_FILE
    if not file.is_file():
        return []
    from deftrec.evaluation import Result

    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["results"]
        return [Result.model_validate(row) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise DeftRecError(f"{file}: damaged; delete it, and it is measured again") from error


def report_if_possible(
    recommender: "Recommender",
    results: Sequence["Result"],
    run: Path,
    progress: Progress,
    examples: Sequence["Example"] | None = None,
) -> Path | None:
    """The path of the run's HTML report; None, said in a line, where plots cannot be drawn."""
    from deftrec.report import write_report

    return page_if_possible(lambda: write_report(recommender, results, run / "report", examples), progress, "report")
