"""`deftrec similar`: the nearest items in the latent space."""

import json
from typing import Annotated

import typer

from deftrec.cli.console import listening, output
from deftrec.cli.loading import load_recommender
from deftrec.cli.options import Json, K, RunFolder
from deftrec.cli.tables import recommendation_table


def similar(
    run: RunFolder,
    item: Annotated[str, typer.Option(help="Id of an item of the catalogue.", metavar="ID")],
    k: K = 10,
    as_json: Json = False,
) -> None:
    """Show the items with the highest cosine similarity to an item in the latent space.

    Example: deftrec similar runs/ml-100k --item 50 -k 5
    """
    with listening() as progress:
        recommender = load_recommender(run, progress)
        found = recommender.similar(item, k)
    title = recommender.interactions.title(int(recommender.interactions.item_numbers([item])[0]))
    if as_json:
        nearest = [{"item": one.item, "title": one.title, "score": one.score, "rank": one.rank} for one in found]
        print(json.dumps({"item": item, "title": title, "similar": nearest}, indent=2, ensure_ascii=False))
        return
    console = output()
    console.print(f"similar to: {title}", markup=False)
    console.print(recommendation_table(found))
