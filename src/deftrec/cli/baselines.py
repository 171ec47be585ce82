"""Simple recommenders beside a run, so that its figures can be judged: popularity, item-KNN, EASE with recency."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from deftrec.cli.console import working
from deftrec.cli.measure import METRICS_FILE
from deftrec.errors import DeftRecError, first_line
from deftrec.files import write_json
from deftrec.progress import Progress

if TYPE_CHECKING:
    from deftrec.evaluation import Result
    from deftrec.recommender import Recommender

BASELINES = {"popularity": 200_000, "item-knn": 30_000, "ease-recency": 8_000}
"""Largest catalogue for each baseline: one fit then takes under half a minute of a core."""
SCORES = 2_000_000_000  # largest number of users x items: ranking them takes a minute of a core
SECONDS = 30.0  # longest search for the settings of one baseline
MORE = "'deftrec benchmark' compares all systems, however long it takes"


def measure_baselines(recommender: "Recommender", out: Path, progress: Progress) -> list["Result"]:
    """Test results of the baselines that suit the size of the data; those measured before are read from `out`.

    Settings are chosen on validation, as for `deftrec benchmark`. They are stored in `out/peers`, and the results also
    in `metrics.json`. What cannot be measured is said, and is no error.
    """
    from deftrec.data import make_split
    from deftrec.evaluation import Result
    from deftrec.records import read_record

    data, folder = recommender.fitted_on, out / "peers"
    names = [name for name, most in BASELINES.items() if data.n_items <= most]
    if data.n_users * data.n_items > SCORES:
        names = []
    left_out = [name for name in BASELINES if name not in names]
    if left_out:
        size = f"{data.n_users:,} users and {data.n_items:,} items"
        progress.say(f"no {', '.join(left_out)} beside the run, as {size} take long; {MORE}")
    missing = [name for name in names if not (folder / name / "result.json").is_file()]
    if missing:
        from deftrec.benchmark.peers import run_peers

        split = make_split(data, recommender.config.data.split)
        seen, fit = recommender.config.retrieval.seen, recommender.info.fit
        try:
            with working(progress, f"tuning and ranking {', '.join(missing)} (the first time, pip installs scipy)"):
                run_peers(data, split, missing, folder, fit, seen=seen, budget_seconds=SECONDS)
        except DeftRecError as error:
            progress.say(f"baselines are missing: {first_line(error)}; --no-baselines leaves them out")
    files = [file for name in names if (file := folder / name / "result.json").is_file()]
    results = [read_record(file, Result, "delete it, and it is measured again") for file in files]
    if missing:
        metrics = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))
        write_json(out / METRICS_FILE, {**metrics, "baselines": [one.to_json_dict() for one in results]})
    return results


def verdict(own: "Result", baselines: list["Result"]) -> str:
    """A sentence that compares NDCG@10 with that of the best baseline."""
    key = "ndcg@10"
    best = max(baselines, key=lambda one: one.metrics[key])
    value, other = own.metrics[key], best.metrics[key]
    apart = own.ci95[key][0] > best.ci95[key][1] or own.ci95[key][1] < best.ci95[key][0]
    share = f", {abs(value / other - 1):.0%} {'above' if value >= other else 'below'} it" if other else ""
    intervals = f"the 95 % intervals {'do not overlap' if apart else 'overlap'}"
    return f"NDCG@10 {value:.4f}; best baseline {best.name} {other:.4f}{share}; {intervals}"
