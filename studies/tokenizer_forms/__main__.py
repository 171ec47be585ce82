"""What are K ways and masking worth, and in which form?

    python -m studies.tokenizer_forms --data DIR --out FOLDER [--seeds 3] [--forms k2,k2-sum]

5 % of the items are held out of every stage. Each form is trained with every seed, one model, and ranked by the latent
term (or by the whole score, with --whole):

- all: the last item of every user.
- few: those of users with at most three events before.
- no text: all, where a random half of the items has lost its text.
- damaged: all, where a fifth of every item's features is zero.
- noise: all, where noise of the features' own size is added to a fifth of them.
- unseen: interactions with the held-out items, which are added by their text alone.

Differences to the recipe are paired over the cases and averaged over seeds.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from torch import Tensor

from deftrec import Recommender
from deftrec.cli.console import listening
from deftrec.cli.options import DataFolder, Overrides, Recipe
from deftrec.config import Config
from deftrec.data import Cases, Interactions, make_split
from deftrec.errors import ConfigError
from deftrec.evaluation import paired_over_seeds
from deftrec.model import DeftRec
from deftrec.progress import Progress
from deftrec.recipe import load_recipe
from deftrec.retrieval import LatentSimilarity, Ranker
from deftrec.training.cache import StageResult
from deftrec.training.fit import resolve
from studies.ablation.variants import plain
from studies.cold_start.asking import ask
from studies.cold_start.holdout import Holdout, hold_out
from studies.cold_start.study import with_items
from studies.command import run
from studies.pretrained import require_text, text_vectors
from studies.replaced_parts import replaced
from studies.results_cache import ResultKey, ResultsCache
from studies.tokenizer_forms.forms import Form, forms
from studies.training import trained_in

BASE = "recipe"
FEW = 3
METRICS = {"all": "ndcg@10", "few": "ndcg@10", "no text": "ndcg@10", "damaged": "ndcg@10", "noise": "ndcg@10"}
METRICS["unseen"] = "hr@50"
"""Metric of each kind of case."""


def changed(recommender: Recommender, values: Tensor) -> Recommender:
    """The recommender of a run with only the latent term, on other features `[I, F]`."""
    own = cast(DeftRec, recommender.model)
    model = own.with_items(lambda rows: rows[:0], [])  # a copy with a table of its own
    model.features.values.data = values
    catalogue = model.encode_catalogue()
    ranker = Ranker(len(values), (LatentSimilarity(catalogue.latents),))
    return Recommender(replace(recommender.run, model=model, catalogue=catalogue, ranker=ranker))


def damages(recommender: Recommender, text: slice) -> dict[str, Tensor]:
    """Features of the catalogue after each kind of damage. `[I, F]`"""
    values = cast(DeftRec, recommender.model).features.values.detach()
    generator = torch.Generator().manual_seed(0)
    lost, hit = (torch.rand(shape, generator=generator) for shape in ((len(values), 1), values.shape))
    blank = values.clone()
    blank[:, text] = torch.where(lost < 0.5, 0.0, values[:, text])
    noise = torch.randn(values.shape, generator=generator) * values.std()
    return {
        "no text": blank,
        "damaged": torch.where(hit < 0.2, 0.0, values),
        "noise": torch.where(hit < 0.2, values + noise, values),
    }


def measure(
    form: Form, config: Config, held: Holdout, texts: Tensor, shared: Path, progress: Progress, folder: Path
) -> StageResult:
    """Train one form with one seed, and its metrics of every case."""
    cases = held.questions
    with replaced(form.model):
        alone = trained_in(folder, held.training, config, progress=progress, shared=shared)
        asked = {"all": ask(alone, held.whole, cases.seen_users)}
        if config.retrieval.prior == "none":
            columns = cast(DeftRec, alone.model).features.values.shape[1]
            text = slice(columns - texts.shape[1], None)
            for name, values in damages(alone, text).items():
                asked[name] = ask(changed(alone, values), held.whole, cases.seen_users)
        asked["unseen"] = ask(with_items(alone, held, texts), held.whole, cases.unseen_items)
    few = torch.from_numpy(few_events(cases.seen_users))
    asked["few"] = {name: values[few] for name, values in asked["all"].items()}
    about = {"seconds": sum(alone.info.seconds.values()), "validation": alone.info.validation}
    return StageResult({name: values[METRICS[name]] for name, values in asked.items()}, about)


def few_events(cases: Cases) -> np.ndarray:
    """Which cases have at most `FEW` events before the target. `[N]` bool"""
    return cases.histories.lengths <= FEW


def batches_of(config: Config, interactions: Interactions) -> int:
    """Number of batches of a training."""
    split = make_split(interactions, config.data.split)
    training = resolve(config, interactions, split).training
    positions = len(split.training("train").items)
    return int(training.epochs) * max(1, round(positions / int(training.batch_positions)))


def main(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder of the results; finished ones are kept.")],
    seeds: Annotated[int, typer.Option(help="Number of seeds.", min=1)] = 3,
    names: Annotated[str | None, typer.Option("--forms", help="Names of forms; default: all.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Rank by the whole score; features are not damaged.")] = False,
    recipe: Recipe = "fast",
    overrides: Overrides = None,
) -> None:
    """Train every form with every seed, and print its figures beside the recipe's."""
    config = load_recipe(recipe, overrides)
    config = config.model_copy(update={"training": config.training.model_copy(update={"ensemble_size": 1})})
    config = config if whole else plain(config)
    require_text(config)
    held = hold_out(Interactions.load(data), users_share=0.0)
    known = forms(batches_of(config, held.training))
    chosen = list(known) if names is None else [BASE, *(name.strip() for name in names.split(","))]
    unknown = set(chosen) - set(known)
    if unknown:
        raise ConfigError(f"--forms {sorted(unknown)[0]!r}: no such form; there are: {', '.join(known)}")
    cache, found = ResultsCache(out), dict[str, list[StageResult]]()
    with listening() as progress:
        texts = text_vectors(held.whole, config, progress)
        for name in dict.fromkeys(chosen):
            for seed in range(seeds):
                own = known[name].config(config.model_copy(update={"seed": seed}))
                progress.say(f"{name}, seed {seed}")
                key = ResultKey.of("tokenizer forms", held.whole.fingerprint, own, form=name, whole=whole)
                one = partial(measure, known[name], own, held, texts, out / "shared", progress)
                found.setdefault(name, []).append(cache.get(key, one))
    rows = [row for name, results in found.items() for row in figures(name, known[name].about, results, found[BASE])]
    for row in rows:
        print("{form:16} {cases:8} {mean:.4f} {difference:+.4f} (p {p:.3f})".format(**row))
    (out / "results.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def figures(name: str, about: str, own: list[StageResult], base: list[StageResult]) -> list[dict[str, Any]]:
    """A row for each kind of case: mean over seeds, and the paired difference to the recipe."""
    rows = []
    for cases, metric in METRICS.items():
        if cases not in own[0].tensors:
            continue
        mine, theirs = ([one.tensors[cases] for one in results] for results in (own, base))
        paired = paired_over_seeds(mine, theirs)
        row = {"form": name, "about": about, "cases": cases, "metric": metric, "number": len(mine[0])}
        row |= {"seeds": len(mine), "mean": paired.first, "difference": paired.difference}
        rows.append({**row, "ci95": paired.ci95, "p": paired.p, "seconds": own[0].about["seconds"]})
    return rows


if __name__ == "__main__":
    raise SystemExit(run(main, "studies.tokenizer_forms"))
