"""Write the report of a run: `index.html`, `report.md` and `results.json`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deftrec.benchmark.tables import role_of
from deftrec.config import Config
from deftrec.evaluation import Result
from deftrec.files import atomic_directory, write_json, write_text
from deftrec.formatting import LIST_COLUMNS, columns_of, duration, groups, meaning, metric_name, with_interval
from deftrec.recommender import Recommender
from deftrec.report.benchmark_plots import COLOURS
from deftrec.report.examples import Example, pick_examples
from deftrec.report.lists import list_points, tradeoff
from deftrec.report.plots import DRAWS, STEPS, bars, curve, denoising_path
from deftrec.report.render import render
from deftrec.run import RunInfo

PAGE = "index.html"
RESULTS = "results.json"
STAGES = {"collaborative": "Collaborative encoder", "joint": "Tokenizer, language model and diffusion"}
_HIDDEN = {"active", "record", "n_items", "values"}  # values of a score term that the report leaves out


def write_report(
    recommender: Recommender, results: Sequence[Result], folder: str | Path, examples: Sequence[Example] | None = None
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
    folder, info = Path(folder), recommender.info
    chosen = list(pick_examples(recommender) if examples is None else examples)
    points = list_points(recommender)
    context = {**_context(recommender, results, chosen), "tradeoff": tradeoff(points), "points": points}
    context["list_rows"] = [
        [(value, "") for value in (one.rerank, f"{one.strength:g}", f"{one.hr:.4f}", f"{one.distance:.4f}")]
        for one in points
    ]
    page, text = render("run.html", **context), render("run.md", **context)
    with atomic_directory(folder) as temporary:
        write_text(temporary / PAGE, page)
        write_text(temporary / "report.md", text)
        content = {
            "results": [one.to_json_dict() for one in results],
            "examples": [asdict(one) for one in chosen],
            "lists": [asdict(one) for one in points],
            "run": info.model_dump(mode="json"),
        }
        write_json(temporary / RESULTS, content)
    return folder / PAGE


def _context(recommender: Recommender, results: Sequence[Result], examples: Sequence[Example]) -> dict[str, Any]:
    """Collect what the templates show."""
    info, config, tables = recommender.info, recommender.config, groups(results)
    first = tables[0]
    main, split = first[0], first[0].split
    shown = next((one for one in examples if one.place), examples[0])
    names = {f"{metric_name(key)}, {split}": key for key in ("hr@10", "ndcg@10")}
    return {
        "title": f"DeftRec on {info.dataset}",
        "sentence": f"{meaning(main)}.",
        "tiles": [
            (f"{main.metrics['ndcg@10']:.3f}", f"NDCG@10, {split}"),
            (f"{main.metrics['hr@10']:.3f}", f"HR@10, {split}"),
            (f"{main.users:,}", "evaluated users"),
            (duration(sum(info.seconds.values())), "training time"),
        ],
        "tables": [_table(rows) for rows in tables],
        "list_facts": [(metric_name(key), f"{main.metrics[key]:.4f}") for key in columns_of([main], LIST_COLUMNS)],
        "bars": {title: bars(first, key, title) for title, key in names.items()},
        "examples": examples,
        "found": _found,
        "path": denoising_path(recommender, shown),
        "path_of": shown.user,
        "paths": {"steps": STEPS, "draws": DRAWS, "own_steps": config.diffusion.steps},
        "curves": _curves(info),
        "facts": [*_run_facts(info, config), *_term_facts(info)],
        "settings": config.model_dump_json(indent=2),
        "stages": ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in info.seconds.items()),
        "revision": info.revision or "not from a checkout",
    }


def _table(results: Sequence[Result]) -> dict[str, Any]:
    columns = columns_of(results)
    rows = [
        (COLOURS[role_of(one.name)], [(one.name, ""), *(with_interval(one, key) for key in columns)]) for one in results
    ]
    head = ["system", *map(metric_name, columns)]
    return {"split": results[0].split, "meaning": meaning(results[0]), "head": head, "rows": rows}


def _found(one: Example) -> str:
    return f"rank {one.place} of the list" if one.place else f"not among the {len(one.recommendations)} recommendations"


def _curves(info: RunInfo) -> dict[str, str]:
    """Draw losses and validation metrics by title; `joint-2` is the joint training of the second member."""
    curves = {}
    for stage, rows in info.history.items():
        name, _, member = stage.partition("-")
        for key, what in (("loss", "loss"), ("validation ndcg@10", "validation NDCG@10")):
            if any(key in row for row in rows):
                title = f"{STAGES.get(name, stage)}{f', member {member}' if member else ''}: {what}"
                curves[title] = curve(rows, key, title, info.epochs.get(stage))
    return curves


def _run_facts(info: RunInfo, config: Config) -> list[tuple[str, str]]:
    """List data, training and machine of a run by name."""
    machine = info.environment
    hardware = (machine.get("platform", ""), machine.get("gpu", ""), f"{machine.get('threads', '?')} threads")
    packages = ("deftrec", "python", "torch", "transformers")
    return [
        ("data", f"{info.dataset}, fingerprint {info.fingerprint[:16]}"),
        ("split", config.data.split),
        ("fitted on", info.fit),
        ("parameters", f"{info.parameters:,}"),
        ("epochs kept", ", ".join(f"{stage} {epochs}" for stage, epochs in info.epochs.items())),
        ("seconds", ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in info.seconds.items())),
        ("seed", str(config.seed)),
        ("machine", ", ".join(part for part in hardware if part)),
        ("versions", ", ".join(f"{name} {machine[name]}" for name in packages if name in machine)),
        ("git revision", info.revision or "not from a checkout"),
    ]


def _term_facts(info: RunInfo) -> list[tuple[str, str]]:
    """List the score terms with a weight: settings, then validation accuracy without and with the term."""
    facts = []
    for term, values in info.terms.items():
        if not values["active"]:
            continue
        shown = {key.replace("_", " "): value for key, value in values.items() if key not in _HIDDEN}
        text = ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
        )
        if record := values.get("record"):
            text += f"; validation NDCG@10 {record['ndcg_without']:.4f} without, {record['ndcg']:.4f} with it"
        facts.append((term.replace("_", " "), text))
    return facts
