"""Write the tables of README.md and docs/ from the committed results, so that no figure is copied by hand.

    python -m studies.tables            rewrite every table that differs
    python -m studies.tables --check    change nothing; exit code 1 if a table differs

A page holds `<!-- table: NAME -->` and `<!-- /table -->`; what stands between them is replaced. Every table's first
column names the recipe that made the row and the git revision that it was measured at. MRR is left out: in the
committed results it is computed over the whole catalogue for some systems and over 100 items for others.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "studies" / "results"
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
CUT = r" \*"
"""Mark of a system whose search for settings, or whose training, the budget ended."""
LINK = "(RESULTS/"
"""Beginning of a link's target in a table; a page puts its own path to studies/results there."""

SYSTEMS = {
    "deftrec": "**DeftRec**",
    "deftrec/latent": "DeftRec, latent term alone",
    "deftrec/collaborative_prior": "DeftRec, collaborative prior alone",
    "deftrec/prior": "DeftRec, collaborative prior alone",  # in results of earlier revisions
    "popularity": "popularity",
    "repeat-history": "own history, then popularity",
    "item-knn": "item-KNN",
    "item-knn-recency": "item-KNN + recency",
    "ease": "EASE",
    "ease-recency": "EASE + recency",
    "als": "ALS",
    "bpr": "BPR",
    "lightgcn": "LightGCN",
    "sasrec": "SASRec",
    "bert4rec": "BERT4Rec",
    "hstu": "HSTU",
    "esasrec": "eSASRec",
    "tiger": "TIGER",
    "letter": "LETTER",
    "rpg": "RPG",
    "diffgrm": "DiffGRM",
}

# The run with three seeds of DeftRec comes first; later runs only add the peers that it lacks.
RUNS: dict[str, tuple[str, ...]] = {
    "software": ("software",),
    "lastfm": ("lastfm",),
    "ml-100k": ("ml-100k/three-seeds", "ml-100k"),
    "beauty": ("beauty/three-seeds", "beauty/h100", "beauty"),
    "ml1m": ("ml1m/three-seeds", "ml1m/h100"),
}

VARIANTS = {
    "rq": "discrete tokens: residual quantisation, three codebooks",
    "vq": "discrete tokens: three codebooks side by side (as in TokenRec)",
    "no-negatives": "no negatives: the denoising error alone (as in DreamRec)",
    "pairwise": "16 sampled negatives: the paper's pairwise term",
    "preference": "16 sampled negatives: preference against their centroid (as in PreferDiff)",
    "no-modality-mask": "no modality masked",
    "mask-0.2": "a fifth of the single features masked",
    "mask-0.5": "half of the single features masked",
    "cross-entropy": "no diffusion: softmax cross-entropy on the same network",
    "regression": "no diffusion: squared error on the same network (as in CoLLM)",
    "semantic-ids": "no diffusion: semantic ids, generated code by code (as in TIGER)",
    "unrolled": "one further denoising pass in training, half of the rows with noise",
    "unrolled-control": "the same further pass without noise",
    "unrolled-3": "three further denoising passes in training, half of the rows with noise",
    "unrolled-3-control": "the same three passes without noise",
    "members": "an ensemble of four models",
    "authors": "the procedure of the paper's authors without its language model, 100 epochs",
    "k-2": "two tokens per item",
    "k-4": "four tokens per item",
    "k-8": "eight tokens per item",
    "frozen-tokenizer": "tokenizer trained first, then frozen (as the paper's authors do)",
    "user-tokens": "user tokens, computed from the history",
    "no-text": "collaborative vectors alone, no text",
    "no-collaborative": "text vectors alone, no collaborative vectors",
    "eps": "the network predicts the noise instead of the latent",
    "minilm": "MiniLM, all weights tuned",
    "minilm-lora": "MiniLM, LoRA",
    "minilm-upper": "MiniLM, upper two of six blocks tuned",
    "minilm-frozen": "MiniLM, frozen",
    "minilm-random": "MiniLM's architecture, random weights",
    "minilm-titles": "MiniLM, all weights tuned, eight word pieces of every title",
}


@cache
def load(path: str) -> Any:
    """Content of a committed JSON file; `path` is relative to studies/results, without `.json`."""
    return json.loads((RESULTS / f"{path}.json").read_text(encoding="utf-8"))


def number(value: float, places: int = 4) -> str:
    """Decimal number without its leading zero, as in `.1323`."""
    if not value:
        return "0"
    text = f"{value:.{places}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def signed(value: float) -> str:
    return ("+" if value >= 0 else "-") + number(abs(value))


def interval(ci95: Sequence[float]) -> str:
    return f"{number(ci95[0], 3)} to {number(ci95[1], 3)}"


def probability(p: float) -> str:
    """p-value to the precision at which readers compare it."""
    if p < 0.001:
        return "< .001"
    return number(p, 3) if p < 0.0095 else number(p, 2)


def seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or not value else number(value, 2)


def recipe(result: Any) -> str:
    """Recipe and revision of a benchmark: `default` leaves the width to the size of the data, the others state it."""
    name = "default" if result["recipe"]["language"].get("width") == "auto" else result["dataset"]
    return f"`{name}`, {result['revision']}"


def commanded_recipe(result: Any) -> str:
    """Recipe and revision of a study, whose command names the recipe; earliest studies recorded no revision."""
    name = re.search(r"--recipe (\S+)", result["command"])
    assert name is not None, result["command"]
    return f"`{name[1]}`, {result.get('revision', 'revision not recorded')}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int = 2) -> str:
    """Markdown table; all columns but the first `left` are aligned to the right."""
    rule = ["---"] * left + ["---:"] * (len(headings) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows)) + "\n"


def summaries(path: str) -> dict[str, Any]:
    return {summary["name"]: summary for summary in load(path)["summaries"]}


def cell(summary: Any | None, metric: str = "ndcg@10") -> str:
    if summary is None:
        return ""
    return number(summary["metrics"][metric]) + (CUT if summary["budget_cut"] else "")


def best_peer(path: str) -> Any:
    """Comparison with the peer that has the highest NDCG@10 on test."""
    rows = [row for row in load(path)["comparisons"] if row["metric"] == "ndcg@10"]
    return max(rows, key=lambda row: row["other"])


def first_with(dataset: str, system: str) -> Any | None:
    """Summary of a system in the first of a dataset's runs that holds it."""
    for run in RUNS[dataset]:
        found = summaries(f"{run}/results").get(system)
        if found is not None:
            return found
    return None


def overview() -> str:
    """README: DeftRec beside well-known systems, one row per dataset."""
    peers = ("item-knn-recency", "ease-recency", "sasrec", "hstu")
    rows = []
    for dataset, runs in RUNS.items():
        result, ours = load(f"{runs[0]}/results"), summaries(f"{runs[0]}/results")
        rows.append(
            [
                recipe(result),
                dataset,
                f"{result['users']:,}",
                *(cell(first_with(dataset, peer)) for peer in peers),
                cell(ours["deftrec/latent"]),
                f"**{cell(ours['deftrec'])}** ({interval(ours['deftrec']['ci95']['ndcg@10'])})",
            ]
        )
    names = [SYSTEMS[peer] for peer in peers]
    return table(["recipe", "dataset", "users", *names, "DeftRec, latent term alone", "DeftRec (95 % interval)"], rows)


def summary() -> str:
    """DeftRec, its best peer of the same run, and the paired comparison of both."""
    rows = []
    for dataset, runs in RUNS.items():
        result, ours = load(f"{runs[0]}/results"), summaries(f"{runs[0]}/results")["deftrec"]
        refit, peer = summaries(f"{runs[0]}/results-refit-exclude")["deftrec"], best_peer(f"{runs[0]}/results")
        rows.append(
            [
                recipe(result),
                f"[{dataset}](RESULTS/{runs[0]}/README.md)",
                f"{len(ours['seeds'])}",
                cell(ours, "hr@10"),
                f"{cell(ours)} ({interval(ours['ci95']['ndcg@10'])})",
                cell(refit),
                f"{SYSTEMS[peer['peer']]} {cell(summaries(f'{runs[0]}/results')[peer['peer']])}",
                f"{peer['ratio']:.2f}",
                f"{signed(peer['difference'])} ({signed(peer['ci95'][0])} to {signed(peer['ci95'][1])})",
                probability(peer["p"]),
            ]
        )
    headings = ["recipe", "dataset", "seeds", "HR@10", "NDCG@10 (95 % interval)", "NDCG@10, refitted"]
    headings += ["best peer of the run", "ratio", "difference (95 % interval)", "p"]
    return table(headings, rows)


def peers(dataset: str) -> str:
    """All systems of a dataset, fitted on train, and refitted on train + validation where that was measured."""
    rows, known = [], set()
    for run in RUNS[dataset]:
        result = load(f"{run}/results")
        has_refit = (RESULTS / run / "results-refit-exclude.json").is_file()
        refit = summaries(f"{run}/results-refit-exclude") if has_refit else {}
        for row in result["summaries"]:
            name = row["name"]
            # DeftRec's rows of earlier recipes stay in the lab notes.
            if name in known or (name.startswith("deftrec") and run != RUNS[dataset][0]):
                continue
            known.add(name)
            made = recipe(result) if name.startswith("deftrec") else "peer, tuned"
            minutes = f"{row['train_seconds'] / 60:.1f}"
            report = f"[{run}](RESULTS/{run}/README.md)"
            cells = [made, SYSTEMS[name], report, cell(row, "hr@10"), cell(row), interval(row["ci95"]["ndcg@10"])]
            other = refit.get(name)
            rows.append((row["metrics"]["ndcg@10"], [*cells, cell(other, "hr@10"), cell(other), minutes]))
    rows.sort(key=lambda pair: -pair[0])
    headings = ["recipe", "system", "run", "HR@10", "NDCG@10", "95 % interval", "HR@10, refitted", "NDCG@10, refitted"]
    return table([*headings, "minutes of training"], (cells for _, cells in rows), left=3)


def seen_kept() -> str:
    """Items of the history may be recommended: DeftRec beside its best peer, for both fits."""
    rows = []
    for dataset in RUNS:
        for file, fit in (("results", "train"), ("results-refit-keep", "train + validation")):
            path = f"{dataset}/keep/{file}"
            ours, peer = summaries(path)["deftrec"], best_peer(path)
            rows.append(
                [
                    recipe(load(path)),
                    f"[{dataset}](RESULTS/{dataset}/keep/README.md)",
                    fit,
                    f"{len(ours['seeds'])}",
                    cell(ours, "hr@10"),
                    cell(ours),
                    f"{SYSTEMS[peer['peer']]} {cell(summaries(path)[peer['peer']])}",
                    f"{peer['ratio']:.2f}",
                    probability(peer["p"]),
                ]
            )
    headings = ["recipe", "dataset", "fitted on", "seeds", "HR@10", "NDCG@10", "best peer", "ratio", "p"]
    return table(headings, rows, left=3)


def systems(run: str) -> Callable[[], str]:
    """Every system of one further benchmark, fitted on train."""

    def build() -> str:
        result = load(f"{run}/results")
        ratios = {row["peer"]: row for row in result["comparisons"] if row["metric"] == "ndcg@10"}
        rows = []
        for row in result["summaries"]:
            name, compared = row["name"], ratios.get(row["name"])
            rows.append(
                [
                    recipe(result) if name.startswith("deftrec") else "peer, tuned",
                    SYSTEMS[name],
                    cell(row, "hr@10"),
                    f"{cell(row)} ({interval(row['ci95']['ndcg@10'])})",
                    f"{compared['ratio']:.2f}" if compared and compared["ratio"] is not None else "",
                    probability(compared["p"]) if compared else "",
                ]
            )
        headings = ["recipe", "system", "HR@10", "NDCG@10 (95 % interval)", "DeftRec is ahead by a factor of", "p"]
        return table(headings, rows)

    return build


def ablations(entries: Sequence[tuple[str, Sequence[str]]]) -> Callable[[], str]:
    """Variants beside the recipe that they change, of several studies: (study, names of its variants)."""

    def build() -> str:
        rows = []
        for study, names in entries:
            result = load(f"{study}/results")
            found = {(row["name"], row["split"], row["metric"]): row for row in result["comparisons"]}
            for name in names:
                test = found[f"deftrec/{name}", "test", "ndcg@10"]
                validation = found[f"deftrec/{name}", "validation", "ndcg@10"]
                rows.append(
                    [
                        commanded_recipe(result),
                        f"[{study}](RESULTS/{study}/report.md)",
                        VARIANTS[name],
                        f"{test['seeds']}",
                        number(test["mean"] - test["difference"]),
                        number(test["mean"]),
                        f"{signed(test['difference'])} ({probability(test['p'])})",
                        f"{signed(validation['difference'])} ({probability(validation['p'])})",
                    ]
                )
        headings = ["recipe", "study", "variant", "seeds", "NDCG@10 of the recipe", "of the variant"]
        return table([*headings, "difference on test (p)", "difference on validation (p)"], rows, left=3)

    return build


UNSEEN_RUNS = ("software/unseen", "beauty/unseen", "ml-100k/unseen")


def unseen() -> str:
    """Users and items that no stage of training has seen: three ratios with their 95 % intervals."""
    rows = []
    for run in UNSEEN_RUNS:
        result = load(f"{run}/results")
        row, kept = result["rows"][0], result["seen_items"]
        best = max(baseline["hr50"] for baseline in result["baselines"])
        users = row["users"]
        rows.append(
            [
                commanded_recipe(result),
                f"[{result['dataset']}](RESULTS/{run}/results.json)",
                f"{number(users['first'])} ({users['cases']:,} users)",
                f"{users['value']:.2f} ({users['ci95'][0]:.2f} to {users['ci95'][1]:.2f})",
                f"{number(row['items_hr50'], 3)} ({interval(row['items_ci95'])})",
                f"{number(best, 3)}",
                f"{row['items_hr50'] / best:.2f}",
                f"{kept['value']:.2f} ({kept['ci95'][0]:.2f} to {kept['ci95'][1]:.2f})",
            ]
        )
    headings = ["recipe", "dataset", "NDCG@10 of unseen users", "ratio to seen users", "HR@50 of unseen items"]
    headings += ["HR@50 of content-kNN", "ratio", "NDCG@10 of seen items, ratio to training with all items"]
    return table(headings, rows)


def masking() -> str:
    """How masking in training changes what unseen users and items get."""
    rows = []
    for run in UNSEEN_RUNS[:2]:
        result, known = load(f"{run}/results"), []
        for row in result["rows"]:
            mask = row["masking"]
            if mask in known:  # a row repeats the recipe's own masking
                continue
            known.append(mask)
            rows.append(
                [
                    commanded_recipe(result),
                    result["dataset"],
                    number(mask["mask_features"], 1),
                    number(mask["drop_collaborative"], 1),
                    number(mask.get("drop_text", 0.0), 1),
                    number(row["users"]["first"]),
                    number(row["items_hr50"], 3),
                    f"{number(row['seen_items_alone'])}, {number(row['seen_items'])}",
                ]
            )
    headings = ["recipe", "dataset", "features masked", "collaborative half masked", "text half masked"]
    headings += ["NDCG@10 of unseen users", "HR@50 of unseen items", "NDCG@10 of seen items, before and after adding"]
    return table(headings, rows)


def stream() -> str:
    """Keeping up with a stream of interactions: accuracy and seconds by policy, over all steps but the first."""
    result = load("ml-100k/stream/results")
    policies = {
        "keep": "nothing",
        "update": "`deftrec update`",
        "fine-tune": "`deftrec train --from`",
        "retrain": "training from scratch",
    }
    rows = []
    for policy, words in policies.items():
        steps = [row for row in result["rows"] if row["policy"] == policy and row["step"] > 1]
        cases = sum(row["asked"] for row in steps)
        late = steps[-3:]

        def mean(chosen: Sequence[Any], key: str) -> float:
            return float(sum(row[key] * row["asked"] for row in chosen) / sum(row["asked"] for row in chosen))

        quiet = [row["seconds"] for row in steps if row["step"] <= 7]  # other work shared the core in the last three
        rows.append(
            [
                "`ml-100k`, 8 epochs, one model",
                words,
                f"{cases:,}",
                number(mean(steps, "hr10"), 3),
                number(mean(steps, "ndcg10")),
                number(mean(late, "ndcg10")),
                seconds(sum(quiet) / len(quiet)),
            ]
        )
    headings = ["recipe", "policy", "cases", "HR@10", "NDCG@10", "NDCG@10, last three steps", "seconds per step"]
    return table(headings, rows)


FORMS = ("all", "few", "no text", "damaged", "noise", "unseen")
"""Kinds of cases of `studies.tokenizer_forms`, as columns."""


def tokenizer_forms(*runs: str) -> Callable[[], str]:
    """Forms of the ways and of the masking beside the recipe: differences by kind of case, with p."""

    def render() -> str:
        rows = []
        for run in runs:
            result = load(run)
            named = f"`{result['recipe']}`, {result['revision']}"
            by_form: dict[str, dict[str, Any]] = {}
            for row in result["rows"]:
                by_form.setdefault(row["form"], {})[row["cases"]] = row
            for form, cases in by_form.items():
                cells = [
                    ""
                    if kind not in cases
                    else number(cases[kind]["mean"])
                    if form == "recipe"
                    else f"{signed(cases[kind]['difference'])} ({probability(cases[kind]['p'])})"
                    for kind in FORMS
                ]
                rows.append([named, f"{run.split('/')[0]}, {result['score']}", cases["all"]["about"], *cells])
        headings = ["recipe", "data, score", "form", "all", "few events", "no text", "damaged", "noise", "unseen items"]
        return table(headings, rows, left=3)

    return render


METHODS = ("none", "sum", "ours", "oracle")
"""Methods of `studies.requests`, as columns."""


def requests(*runs: str) -> Callable[[], str]:
    """Requests in words: NDCG@10 by kind of request, without it, by the sum, ours, and the true filter."""

    def render() -> str:
        rows = []
        for run in runs:
            result = load(run)
            for row in result["rows"]:
                cells = [number(row[name]) if name in row else "" for name in METHODS]
                against = [
                    f"{row['ours'] / row[name]:.2f} ({probability(row[f'p to {name}'])})" if name in row else ""
                    for name in ("sum", "oracle")
                ]
                named = f"`{result['recipe']}`, {row.get('revision', result['revision'])}"
                rows.append([named, f"{run.split('/')[0]}: {row['row']}", f"{row['runs']}", *cells, *against])
        headings = ["recipe", "data: request", "seeds", *METHODS, "ours / sum (p)", "ours / oracle (p)"]
        return table(headings, rows)

    return render


def language_questions(run: str) -> Callable[[], str]:
    """States added to the condition, by kind of state: differences by kind of case, with p."""

    def render() -> str:
        result, rows = load(run), []
        by_kind: dict[str, dict[str, Any]] = {}
        for row in result["rows"]:
            by_kind.setdefault(row["kind"], {})[row["cases"]] = row
        cases = list(next(iter(by_kind.values())))
        for kind, found in by_kind.items():
            cells = [
                number(found[one]["mean"])
                if kind == "none"
                else f"{signed(found[one]['difference'])} ({probability(found[one]['p'])})"
                for one in cases
            ]
            rows.append([f"`{result['recipe']}`, {result['revision']}", kind, *cells])
        return table(["recipe", "states added", *cases], rows)

    return render


def lists(run: str) -> Callable[[], str]:
    """Re-rankers beside the list of the score, on test: recall of the next ten, users with a hit, distances."""

    def render() -> str:
        result, rows = load(run), []
        named = f"`{result['recipe']}`, {', '.join(result['result']['set'])}, {result['revision']}"
        for row in result["result"]["rows"]:
            if row["part"] == "test":
                parts = [row[name] for name in ("recall", "hit")]
                cells = [
                    number(one["mean"])
                    + ("" if row["name"] == "none" else f", {signed(one['difference'])} ({probability(one['p'])})")
                    for one in parts
                ]
                rows.append([named, row["name"], *cells, number(row["graph distance"]), number(row["words distance"])])
        headings = ["recipe", "re-ranker, strength", "recall of the next ten (p)", "users with a hit (p)"]
        return table([*headings, "distance, graph", "distance, words"], rows)

    return render


TABLES: dict[str, Callable[[], str]] = {
    "overview": overview,
    "summary": summary,
    **{f"peers-{dataset}": partial(peers, dataset) for dataset in RUNS},
    "seen-kept": seen_kept,
    "without-clones": systems("software/without-clones"),
    "four-minutes": systems("lastfm/four-minutes"),
    "temporal": systems("ml-100k/temporal"),
    "claims": ablations(
        [
            (
                "software/ablation",
                ["rq", "vq", "no-negatives", "pairwise", "no-modality-mask", "mask-0.2", "cross-entropy", "members"],
            ),
            ("lastfm/ablation", ["rq", "no-negatives", "no-modality-mask", "cross-entropy"]),
            ("ml-100k/ablation", ["rq", "no-negatives", "no-modality-mask"]),
            ("beauty/ablation", ["rq", "no-modality-mask", "cross-entropy"]),
            ("beauty/masking", ["no-modality-mask"]),
        ]
    ),
    "choices": ablations(
        [
            (
                "software/choices",
                [
                    "k-2",
                    "k-4",
                    "k-8",
                    "mask-0.5",
                    "frozen-tokenizer",
                    "user-tokens",
                    "no-text",
                    "no-collaborative",
                    "regression",
                    "semantic-ids",
                    "eps",
                ],
            ),
            ("software/published-ways", ["no-negatives", "pairwise", "preference", "authors"]),
        ]
    ),
    "denoising": ablations(
        [
            ("software/ablation", ["cross-entropy"]),
            ("software/published-ways", ["unrolled-3", "unrolled-3-control"]),
            ("lastfm/ablation", ["cross-entropy", "unrolled", "unrolled-control"]),
            ("beauty/ablation", ["cross-entropy", "unrolled-3", "unrolled-3-control"]),
        ]
    ),
    "reader": ablations(
        [
            ("software/reader", ["minilm", "minilm-lora", "minilm-upper", "minilm-frozen", "minilm-random"]),
            ("software/reader-titles", ["minilm-titles"]),
        ]
    ),
    "unseen": unseen,
    "masking": masking,
    "stream": stream,
    "requests": requests("ml-100k/requests/results", "software/requests/results"),
    "language-questions": language_questions("software/language-questions/results"),
    "lists": lists("ml-100k/lists/results"),
    "tokenizer-forms": tokenizer_forms("software/tokenizer-forms/latent", "software/tokenizer-forms/whole"),
}


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rewritten(page: Path) -> str:
    """Text of a page with every table as the committed results have it.

    Raises:
        SystemExit: a marker names no table.
    """

    def fill(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise SystemExit(f"{page.relative_to(ROOT)}: no table '{match[2]}'; one of {', '.join(TABLES)}")
        up = "../" * (len(page.relative_to(ROOT).parts) - 1)
        text = TABLES[match[2]]().replace(LINK, f"({up}studies/results/")
        return f"{match[1]}\n{text}\n{match[4]}"

    return MARKED.sub(fill, page.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a table differs")
    check = parser.parse_args().check
    stale = [page for page in pages() if rewritten(page) != page.read_text(encoding="utf-8")]
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'differs' if check else 'rewritten'}")
        if not check:
            page.write_text(rewritten(page), encoding="utf-8")
    if check and stale:
        sys.exit("error: tables differ from the committed results; rewrite them: make tables")


if __name__ == "__main__":
    main()
