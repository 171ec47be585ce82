"""`deftrec demo`: train on real data, compare, recommend; first a small model, then one whose language model reads."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.text import Text

from deftrec.cli.baselines import measure_baselines, verdict
from deftrec.cli.console import Listener, Stopped, listening, output, working
from deftrec.cli.data import fetch_data
from deftrec.cli.measure import load_recommender, measure, read_results, report_if_possible
from deftrec.cli.options import Overrides, Recipe, flag, option
from deftrec.cli.remaining import duration, plan
from deftrec.cli.tables import metrics_table
from deftrec.cli.threads import settle_threads
from deftrec.errors import ConfigError, DeftRecError
from deftrec.progress import Labelled

if TYPE_CHECKING:
    from deftrec.config import Config
    from deftrec.data import Interactions
    from deftrec.evaluation import Result
    from deftrec.recommender import Recommender
    from deftrec.report import Example
    from deftrec.training.forecast import Forecast

DATASET = "ml-100k"
NO_RECIPE = "none"
FIRST = "a small transformer trained from scratch"
SECOND = "a pre-trained language model that reads the histories and states preferences, beside it"
FAST = "fast"
QUICK_REASONER = {"examples": 480, "spoken": 0}
"""Options of the second part: fewer statements to learn from, and none read by the condition, as each costs time."""
QUICK = ("size=small", "retrieval.prior=ease")
"""Options of the first part: one kind of the collaborative prior is tried, as each costs seconds."""
SHOWN_HISTORY, SHOWN_RECOMMENDATIONS = 4, 5


@dataclass(frozen=True)
class Part:
    """One of the models that the demo trains.

    Attributes:
        number: number of the part, from 1.
        label: text before the lines of its progress.
        model: description of the model.
        name: name of its rows in the table.
        out, config: run directory and options.
        beside: part whose model a reasoner is trained beside; None for a training of its own.
    """

    number: int
    label: str
    model: str
    name: str
    out: Path
    config: "Config"
    beside: "Part | None" = None

    @property
    def finished(self) -> bool:
        """Whether the run directory holds a finished run."""
        return (self.out / "run.json").is_file()


def demo(
    out: Annotated[Path, option("The run directory of the first part.", "RUN")] = Path("runs/demo"),
    recipe: Recipe = "default",
    language_recipe: Annotated[
        str,
        option("Recipe of the second part, whose run goes beside RUN; 'none': only the first part.", "FILE_OR_NAME"),
    ] = "deftrec",
    overrides: Overrides = None,
    force: Annotated[bool, flag("--force", "Train again, in place of the runs that lie there.")] = False,
) -> None:
    """Fetch MovieLens-100K, train, evaluate beside other recommenders, recommend, and write a report.

    The first part trains a small model (size: small) and compares it.
    In the second part, a generative language model reads the histories beside it and states preferences in words.
    Finished parts are shown again without training.
    An interrupted part goes on where it stopped.

    Example: deftrec demo
    """
    parts = _parts(out, recipe, language_recipe, overrides)
    if force:
        for part in parts:
            _remove(part.out)
    try:
        _run(parts)
    except KeyboardInterrupt:
        raise Stopped("interrupted; 'deftrec demo' goes on where it stopped") from None


def _parts(out: Path, recipe: str, language_recipe: str, overrides: list[str] | None) -> list[Part]:
    from deftrec.recipe import load_recipe

    count = 1 if language_recipe == NO_RECIPE else 2
    config = load_recipe(recipe, [*QUICK, *(overrides or [])])
    parts = [Part(1, f"part 1 of {count}", FIRST, FAST, out, config)]
    if count > 1:
        asked = load_recipe(language_recipe)
        if asked.reasoner is None:
            raise ConfigError(f"{language_recipe}: has no reasoner; give --language-recipe deftrec, or none")
        quick = asked.reasoner.model_copy(update=QUICK_REASONER)
        name, beside = Path(language_recipe).stem, config.model_copy(update={"reasoner": quick})
        second = out.with_name(f"{out.name}-{name}")
        parts.append(Part(2, f"part 2 of {count}", SECOND, name, second, beside, parts[0]))
    return parts


def _run(parts: list[Part]) -> None:
    """Train, measure and show every part."""
    console, forecasts, before = output(), dict[int, "Forecast"](), list["Result"]()
    for part in parts:
        with listening() as progress:
            if part.number == 1:
                forecasts = _forecasts(parts, progress)
            for number, ahead in forecasts.items():
                if number >= part.number:
                    progress.expect({f"{parts[number - 1].label}: {task}": s for task, s in ahead.seconds.items()})
            recommender = _trained(part, progress)
            results = read_results(part.out) or measure(recommender, part.out, progress)
            peers = measure_baselines(recommender, part.out, progress) if part.number == 1 else []
            with working(progress, "recommending"):
                from deftrec.report import pick_examples

                examples = pick_examples(recommender)
            page = report_if_possible(recommender, results + peers, part.out, progress, examples)
        tested = [
            result.model_copy(update={"name": part.name + result.name.removeprefix("deftrec")})
            for result in results
            if result.split == "test"
        ]
        console.print(metrics_table(tested + before + peers))
        if peers:
            console.print(verdict(tested[0], peers), markup=False)
        _print_examples(examples, console)
        console.print(Text(f"run: {part.out}"))
        if page is not None:
            console.print(Text(f"report: {page}"))
        before = [result for result in tested if result.name == part.name] + peers


def _forecasts(parts: list[Part], progress: Listener) -> dict[int, "Forecast"]:
    """Say what each unfinished part does and how long it takes here, from a probe of this machine; by number."""
    unfinished = [part for part in parts if not part.finished]
    if not unfinished:
        return {}
    interactions = _data(progress)
    settle_threads(progress, unfinished[0].out)
    with working(progress, "timing a training step on this machine"):
        from deftrec.training.forecast import forecast

        found = {part.number: forecast(interactions, part.config, beside=bool(part.beside)) for part in unfinished}
    for part in unfinished:
        progress.say(f"{part.label}, {part.model}: {plan(found[part.number].seconds)}")
    total = sum(sum(ahead.seconds.values()) for ahead in found.values())
    progress.say(f"about {duration(total)} in all, with {found[unfinished[0].number].machine}")
    return found


def _trained(part: Part, progress: Listener) -> "Recommender":
    """The run of a part: loaded if it is complete, else trained from where it stands."""
    out = part.out
    if part.finished:
        from deftrec.records import read_record
        from deftrec.run import Request

        progress.say(f"{out} holds a finished run, which is shown; --force trains again")
        asked = read_record(out / "request.json", Request, "--force trains again")
        if part.beside is None and asked.config != part.config:
            progress.say("warning: that run was trained with other options than these")
        return load_recommender(out, progress)
    interactions = _data(progress)
    with working(progress, "loading the libraries"):
        from deftrec.data.download import default_home
        from deftrec.recommender import Recommender
    resume = (out / "request.json").is_file()
    if resume:
        progress.say(f"{out} holds an interrupted run, which goes on; --force starts again")
    shared = default_home() / "stages"  # both parts read the same text vectors
    labelled = Labelled(progress, part.label)
    if part.beside is not None:
        small = Recommender.load(part.beside.out)
        return small.with_reasoner(part.config.reasoner, out=out, resume=resume, progress=labelled)
    return Recommender.fit(interactions, part.config, out=out, resume=resume, progress=labelled, shared=shared)


def _data(progress: Listener) -> "Interactions":
    """MovieLens-100K, from the cache once it has been fetched."""
    from deftrec.data import Interactions
    from deftrec.data.download import default_home

    folder = default_home() / "data" / DATASET
    if (folder / "meta.json").is_file():
        with working(progress, f"reading {folder}"):
            return Interactions.load(folder)
    return fetch_data(DATASET, folder, progress)


def _remove(out: Path) -> None:
    """Delete a run directory if it exists; a `DeftRecError` if it is no run directory."""
    if out.exists() and not (out / "request.json").is_file():
        raise DeftRecError(f"{out}: is no run, so --force does not remove it; give another --out")
    if out.exists():
        shutil.rmtree(out)


def _print_examples(examples: Sequence["Example"], console: Console) -> None:
    """Print users: the last titles of their history, their recommendations, and the item they interacted with next."""
    for one in examples:
        console.print(Text(f"user {one.user}", style="bold"))
        console.print(Text(f"  history      {'; '.join(one.titles[-SHOWN_HISTORY:])}"))
        if one.statement is not None:
            console.print(Text(f"  statement    {one.statement}", style="italic"))
        for item in one.recommendations[:SHOWN_RECOMMENDATIONS]:
            label, style = "recommended" if item.rank == 1 else "", "green" if item.rank == one.place else ""
            console.print(Text(f"  {label:<12} {item.rank}. {item.title}", style=style))
        found = f"rank {one.place}" if one.place else f"not among the first {len(one.recommendations)}"
        console.print(Text(f"  next         {one.target} ({found})\n"))
