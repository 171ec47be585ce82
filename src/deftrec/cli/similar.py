"""`deftrec similar`: the nearest items in the space that DeftRec recommends in."""

import json
from typing import Annotated

import typer

from deftrec.cli.console import listening, output
from deftrec.cli.loading import load_recommender
from deftrec.cli.options import Json, K, RunFolder
from deftrec.cli.tables import recommendation_table


def similar(
    run: RunFolder,
    item: Annotated[str, typer.Option(help="An item of the catalogue.", metavar="ID")],
    k: K = 10,
    as_json: Json = False,
) -> None:
    """Show the items whose latents are nearest to that of an item, by cosine.

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
    console.print(f"like: {title}", markup=False)
    console.print(recommendation_table(found))
