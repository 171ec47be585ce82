"""`deftrec requests`: learns to read requests in words, beside a finished run."""

from typing import Annotated

from deftrec.cli.console import listening, output
from deftrec.cli.measure import load_recommender
from deftrec.cli.options import RunFolder, option


def requests(
    run: RunFolder,
    language_model: Annotated[
        str | None,
        option("Language model that relates words to categories, as smollm2; default: the reasoner's.", "MODEL"),
    ] = None,
) -> None:
    """Learn to read requests in words, from the titles and categories of the items; the run's lists stay as they are.

    Example: deftrec requests runs/demo
    """
    with listening() as progress:
        recommender = load_recommender(run, progress).with_requests(
            language_model=language_model, out=run, progress=progress
        )
    console = output()
    for kind, figures in recommender.requests.term.record.items():
        console.print(
            f"validation NDCG@10 under {kind} requests: {figures['ndcg']:.4f} ({figures['ndcg_without']:.4f} without)",
            markup=False,
        )
    console.print(f"{run}: reads requests now: deftrec recommend {run} --user ID --request WORDS", markup=False)
