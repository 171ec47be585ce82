"""Does what an explanation names matter? The recommended item's rank without the named history items, or random ones.

    python benchmarks/faithfulness.py RUN [--users 300]

For test users with a history of ten items or more: the first recommendation, then its rank among all items that are
not in the history after the items that its explanation names have been taken out, and after as many random ones have
(the mean of five draws).
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from deftrec import Recommender
from deftrec.data import Sequences, make_split
from deftrec.evaluation import paired_bootstrap
from deftrec.explanation import Queries, reasons
from deftrec.recommender import INFLUENCES

SHORTEST, DRAWS = 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--users", type=int, default=300)
    options = parser.parse_args()
    recommender = Recommender.load(options.run)
    cases = make_split(recommender.fitted_on, recommender.config.data.split).cases("test")
    rng = np.random.default_rng(0)
    long = np.flatnonzero(cases.histories.lengths >= SHORTEST)
    chosen = rng.permutation(long)[: options.users]

    def ask(histories: Sequences) -> Queries:
        return recommender.ask(histories)

    def ranks(history: np.ndarray, shorter: list[np.ndarray], item: int) -> list[int]:
        asked = ask(Sequences.from_lists(shorter))
        scores = torch.cat(
            [s for _, s in recommender.retriever.chunks(asked.queries, asked.histories, False, asked.texts)]
        )
        scores[:, torch.from_numpy(history.astype(np.int64))] = float("-inf")
        return ((scores > scores[:, item, None]).sum(1) + 1).tolist()

    named, random = [], []
    for n in chosen:
        history = cases.histories[n]
        asked = ask(Sequences.from_lists([history]))
        found = recommender.retriever.search(asked.queries, asked.histories, 1, True, asked.texts)
        item = int(found.items[0, 0])
        [why] = reasons(recommender.retriever, ask, history, [item])
        movers = [one.place for one in why.influences[:INFLUENCES]]
        draws = [rng.choice(len(history), INFLUENCES, replace=False) for _ in range(DRAWS)]
        after = ranks(history, [np.delete(history, places) for places in [movers, *draws]], item)
        named.append(after[0])
        random.append(float(np.mean(after[1:])))
    one, other = (torch.tensor(values, dtype=torch.float64) for values in (named, random))
    fallen = paired_bootstrap(one.log(), other.log())
    print(f"{recommender.interactions.meta.name}: {len(chosen)} users, {INFLUENCES} items taken out; the rank was 1")
    print(f"the named ones:  median rank {one.median():.0f}, mean of log rank {fallen.first:.2f}")
    print(f"random ones:     median rank {other.median():.0f}, mean of log rank {fallen.second:.2f}")
    print(
        f"difference {fallen.difference:.2f}, 95 % interval {fallen.ci95[0]:.2f} to {fallen.ci95[1]:.2f}, "
        f"p {fallen.p:.4f}"
    )


if __name__ == "__main__":
    main()
