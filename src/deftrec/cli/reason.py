"""`deftrec reason`: computes the reasoning of all users, so that the service and bulk recommendations find it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deftrec.cli.console import listening
from deftrec.cli.measure import load_recommender
from deftrec.cli.options import RunFolder, option
from deftrec.errors import ConfigError

if TYPE_CHECKING:
    from deftrec.reasoning import StatementEngine
    from deftrec.recommender import Recommender

BATCH = 256  # users whose reasoning is written at once


def reason(
    run: RunFolder,
    users: Annotated[int | None, option("Number of users, the first of the data; default: all.", min=1)] = None,
    statements: Annotated[
        bool,
        typer.Option(
            "--statements/--no-statements",
            help="Also generate each user's preference in words, which takes about ten times as long.",
        ),
    ] = True,
    engine: Annotated[
        Literal["local", "vllm", "openai"],
        option("Writer of the statements: the run's language model here or in vLLM, or an OpenAI-compatible server."),
    ] = "local",
    base_url: Annotated[
        str | None, option("Address of the server, with --engine openai; usually ends in /v1.", "URL")
    ] = None,
    model: Annotated[str | None, option("Name of the model on the server, with --engine openai.", "NAME")] = None,
    timeout: Annotated[float, option("Seconds to wait for one answer of the server.", min=0.1)] = 60.0,
) -> None:
    """Compute the reasoning of users' histories and store it in the run. What is stored is skipped.

    Example: deftrec reason runs/deftrec --users 1000
    """
    given = {one is not None for one in (base_url, model)}
    if given != {engine == "openai"}:
        raise ConfigError("--engine openai needs --base-url and --model, which no other engine has")
    with listening() as progress:
        recommender = load_recommender(run, progress)
        reasoning, sequences = recommender.run.reasoning, recommender.interactions.sequences
        if reasoning is None:
            raise ConfigError(f"{run}: this run has no reasoner; train one with 'deftrec train --recipe deftrec'")
        count = min(len(sequences), users or len(sequences))
        with _writer(recommender, engine, base_url or "", model or "", timeout) as writer:
            steps = [("states", reasoning.make_states)] if reasoning.adds_to_condition else []
            steps += [("statements", partial(reasoning.make_statements, engine=writer))] if statements else []
            made = []
            for name, make in steps:
                progress.begin(name, count)
                new = 0
                for start in range(0, count, BATCH):
                    batch = [sequences[user] for user in range(start, min(start + BATCH, count))]
                    computed = make(batch, partial(progress.advance, name))
                    progress.advance(name, len(batch) - computed)
                    new += computed
                progress.end(name)
                made.append(f"{new:,} {name}")
    print(f"{run}: reasoning of {count:,} users is stored; {' and '.join(made) or 'nothing'} computed now")


@contextmanager
def _writer(
    recommender: "Recommender", engine: str, base_url: str, model: str, timeout: float
) -> "Iterator[StatementEngine | None]":
    """The engine that replaces the run's language model; None: none does."""
    from deftrec.pretrained_files.locate import model_folder
    from deftrec.reasoning import ItemWords, OpenAIEngine, vllm_engine

    reasoning, options = recommender.run.reasoning, recommender.config.reasoner
    assert reasoning is not None, "checked before"
    assert options is not None, "of a run with a reasoner"
    if engine == "openai":
        data = recommender.fitted_on
        yield OpenAIEngine(base_url, model, ItemWords.of(data), data.meta.domain, timeout=timeout)
    elif engine == "vllm":
        with tempfile.TemporaryDirectory() as folder:
            yield vllm_engine(reasoning.reasoner, model_folder(options.model), Path(folder))
    else:
        yield None
