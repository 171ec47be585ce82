"""Faithfulness of explanations: rank of the recommended item without the named history items, or without random ones.

    python -m studies.faithfulness RUN [--users 300]

For test users with a history of ten items or more: the first recommendation, then its rank among all items that are
not in the history after the items that its explanation names were removed, and after as many random ones were removed
(the mean of five draws).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from deftrec import Recommender
from deftrec.data import Sequences, make_split
from deftrec.evaluation import paired_bootstrap
from deftrec.explanation import reasons
from deftrec.list_making import INFLUENCES
from deftrec.retrieval import Deny, ExcludeHistory

SHORTEST, DRAWS = 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--users", type=int, default=300)
    options = parser.parse_args()
    recommender = Recommender.load(options.run)
    ranker = recommender.ranker
    cases = make_split(recommender.fitted_on, recommender.config.data.split).cases("test")
    rng = np.random.default_rng(0)
    long = np.flatnonzero(cases.histories.lengths >= SHORTEST)
    chosen = rng.permutation(long)[: options.users]
    if not len(chosen):
        raise SystemExit(f"{options.run}: no test user has a history of {SHORTEST} items")

    def ranks(history: np.ndarray, shorter: list[np.ndarray], item: int) -> list[int]:
        queries = recommender.queries(Sequences.from_lists(shorter))
        rules = (Deny(torch.from_numpy(history.astype(np.int64))),)
        scores = torch.cat([part for _, part in ranker.chunks(queries, rules)])
        return [int(rank) for rank in (scores > scores[:, item, None]).sum(1) + 1]

    named, random = [], []
    for n in chosen:
        history = cases.histories[n]
        queries = recommender.queries(Sequences.from_lists([history]))
        item = int(ranker.search(queries, 1, (ExcludeHistory(),)).items[0, 0])
        [why] = reasons(ranker, recommender.queries, history, [item])
        influences = list(why.changes)[:INFLUENCES]
        draws = [rng.choice(len(history), INFLUENCES, replace=False) for _ in range(DRAWS)]
        after = ranks(history, [np.delete(history, positions) for positions in (np.array(influences), *draws)], item)
        named.append(after[0])
        random.append(float(np.mean(after[1:])))
    one, other = (torch.tensor(values, dtype=torch.float64) for values in (named, random))
    fallen = paired_bootstrap(one.log(), other.log())
    print(f"{recommender.interactions.meta.name}: {len(chosen)} users, {INFLUENCES} items removed; the rank was 1")
    print(f"named items:   median rank {one.median():.0f}, mean of log rank {fallen.first:.2f}")
    print(f"random items:  median rank {other.median():.0f}, mean of log rank {fallen.second:.2f}")
    print(
        f"difference {fallen.difference:.2f}, 95 % interval {fallen.ci95[0]:.2f} to {fallen.ci95[1]:.2f}, "
        f"p {fallen.p:.4f}"
    )


if __name__ == "__main__":
    main()
