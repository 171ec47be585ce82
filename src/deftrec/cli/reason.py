"""`deftrec reason`: computes the reasoning of all users, so that the service and bulk recommendations find it."""

from functools import partial
from typing import Annotated

import typer

from deftrec.cli.console import listening
from deftrec.cli.measure import load_recommender
from deftrec.cli.options import RunFolder, option
from deftrec.errors import ConfigError

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
) -> None:
    """Compute the reasoning of users' histories and store it in the run. What is stored is skipped.

    Example: deftrec reason runs/deftrec --users 1000
    """
    with listening() as progress:
        recommender = load_recommender(run, progress)
        reasoning, sequences = recommender.run.reasoning, recommender.interactions.sequences
        if reasoning is None:
            raise ConfigError(f"{run}: this run has no reasoner; train one with 'deftrec train --recipe deftrec'")
        count = min(len(sequences), users or len(sequences))
        steps = [("states", reasoning.make_states)] if reasoning.adds_to_condition else []
        steps += [("statements", reasoning.make_statements)] if statements else []
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
