"""Write the report of a run: `index.html`, `report.md` and `results.json`."""

from collections.abc import Sequence
from pathlib import Path

from deftrec.evaluation import Result
from deftrec.files import atomic_directory, write_json, write_text
from deftrec.formatting import groups
from deftrec.recommender import Recommender
from deftrec.report.examples import Example, pick_examples
from deftrec.report.markdown import markdown
from deftrec.report.page import Figures, page
from deftrec.report.plots import bars, curve, denoising_path

PAGE = "index.html"
RESULTS = "results.json"
STAGES = {"collaborative": "Collaborative encoder", "joint": "Tokenizer, language model and diffusion"}


def write_report(
    recommender: Recommender,
    results: Sequence[Result],
    folder: str | Path,
    examples: Sequence[Example] | None = None,
) -> Path:
    """Write the report to `folder` in one step, replacing its former content.

    Args:
        recommender: trained recommender.
        results: results of the recommender, of its parts and of peers.
        folder: folder of the report alone.
        examples: users to show; None for five test users.

    Returns:
        Path of the HTML file.

    Raises:
        MissingExtraError: the extra `report` is not installed.
        DataError: no user has a test target.
    """
    folder = Path(folder)
    info = recommender.info
    chosen = list(pick_examples(recommender) if examples is None else examples)
    whole = page(info, recommender.config, results, chosen, _draw(recommender, results, chosen))
    with atomic_directory(folder) as temporary:
        write_text(temporary / PAGE, whole)
        write_text(temporary / "report.md", markdown(info, results, chosen))
        write_json(
            temporary / RESULTS,
            {
                "results": [one.to_json_dict() for one in results],
                "examples": [one.to_json_dict() for one in chosen],
                "run": info.model_dump(mode="json"),
            },
        )
    return folder / PAGE


def _stage_title(stage: str) -> str:
    """Write the name of a stage for readers; `joint-2` is the joint training of the second member."""
    name, _, member = stage.partition("-")
    title = STAGES.get(name, stage)
    return f"{title}, member {member}" if member else title


def _draw(recommender: Recommender, results: Sequence[Result], examples: Sequence[Example]) -> Figures:
    first = groups(results)[0]
    split = first[0].split
    names = {"hr@10": "HR@10", "ndcg@10": "NDCG@10"}
    curves = {}
    for stage, rows in recommender.info.history.items():
        kept, name = recommender.info.epochs.get(stage), _stage_title(stage)
        for key, what in (("loss", "loss"), ("validation ndcg@10", "validation NDCG@10")):
            if any(key in row for row in rows):
                title = f"{name}: {what}"
                curves[title] = curve(rows, key, title, kept)
    shown = next((one for one in examples if one.place), examples[0])
    return Figures(
        bars={f"{name}, {split}": bars(first, key, f"{name}, {split}") for key, name in names.items()},
        curves=curves,
        path=denoising_path(recommender, shown),
        path_of=shown,
        steps=recommender.config.diffusion.steps,
    )
