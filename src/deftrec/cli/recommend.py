"""`deftrec recommend` and `deftrec similar`: the next items, and the nearest items in the latent space."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from deftrec.cli.console import listening, output
from deftrec.cli.measure import load_recommender
from deftrec.cli.options import Json, K, Precision, RunFolder, Runtime, Seed, Seen, flag, option, split_ids
from deftrec.cli.tables import explanations, recommendation_table
from deftrec.errors import ConfigError, DataError
from deftrec.progress import Progress

if TYPE_CHECKING:
    import polars as pl

    from deftrec.bulk import Job
    from deftrec.recommender import Recommender
    from deftrec.retrieval import Reranker, RuleOptions

EngineName: TypeAlias = Literal["local", "ray"]  # as in deftrec.bulk, which takes seconds to import
RerankerName: TypeAlias = Literal["none", "mmr", "dpp", "calibrated", "auto"]  # as in deftrec.rerankers, which does too
ItemSimilarity: TypeAlias = Literal["co-occurrence", "latents", "words"]
SHOWN = 5  # newest items of the history that are shown above the table


def recommend(
    run: RunFolder,
    user: Annotated[str | None, option("Recommend to this user of the data.", "ID")] = None,
    history: Annotated[
        str | None,
        option("Recommend after this history: item ids, oldest first; an id with a comma in double quotes.", "A,B,C"),
    ] = None,
    all_users: Annotated[bool, flag("--all-users", "Recommend to all users and write the rankings to --out.")] = False,
    out: Annotated[
        Path | None,
        option(
            "Parquet with user, item, rank, score: one FILE.parquet, or a directory of parts, where the same "
            "command again makes those that are missing.",
            "PATH",
        ),
    ] = None,
    engine: Annotated[
        EngineName, option("Engine that ranks the parts: this process, or a Ray cluster (extra ray).")
    ] = "local",
    part_users: Annotated[int, option("Number of users in a part.", min=1)] = 65_536,
    k: K = 10,
    seen: Seen = "exclude",
    seed: Seed = None,
    precision: Precision = "fp32",
    runtime: Runtime = "torch",
    allow: Annotated[str | None, option("Recommend only these items, ids as for --history.", "A,B,C")] = None,
    deny: Annotated[str | None, option("Recommend none of these items, ids as for --history.", "A,B,C")] = None,
    category: Annotated[str | None, option("Recommend only items of this category.", "NAME")] = None,
    request: Annotated[
        str | None,
        option("Wish in words, such as 'science fiction, nothing violent'; see 'deftrec requests'.", "WORDS"),
    ] = None,
    guidance: Annotated[float, option("Weight of the request, from 0 to 8; 1 as learnt.", "WEIGHT")] = 1.0,
    rerank: Annotated[
        RerankerName,
        option(
            "Order the best 100 items by more than their score: mmr and dpp vary the list, calibrated keeps the "
            "history's shares of categories, auto varies as far as it costs no hit on validation."
        ),
    ] = "none",
    strength: Annotated[
        float | None, option("Strength of --rerank; 0: the order of the score; default: 0.5.", "NUMBER")
    ] = None,
    similarity: Annotated[ItemSimilarity, option("Similarity of items for --rerank mmr and dpp.")] = "co-occurrence",
    continue_with: Annotated[
        int | None,
        option("Continue the history by this many items in order, instead of -k.", "N", "--continue", min=1),
    ] = None,
    rules: Annotated[Path | None, option("YAML file of business rules.", "FILE")] = None,
    offset: Annotated[int, option("Number of items before the list, for a later page.", min=0)] = 0,
    explain: Annotated[bool, flag("--explain", "Explain each recommendation, and what the rules did.")] = False,
    as_json: Json = False,
) -> None:
    """Recommend the next items.

    Example: deftrec recommend runs/ml-100k --history 50,181,174 -k 5
    """
    if request is not None and user is None and not all_users:
        history = history or ""
    if (user is not None) + (history is not None) + all_users != 1:
        raise ConfigError("give one of --user ID, --history A,B,C and --all-users")
    if all_users != (out is not None):
        raise ConfigError("--all-users and --out PATH go together")
    if out is not None and out.suffix not in {"", ".parquet"} and not out.is_dir() and not out.suffix[1:].isdigit():
        raise ConfigError(f"--out {out}: rankings are Parquet; name a file FILE.parquet, or a directory of parts")
    in_parts = out is not None and out.suffix != ".parquet"
    if engine != "local" and not in_parts:
        raise ConfigError(f"--engine {engine} makes parts: give --all-users and a directory as --out")
    if explain and all_users:
        raise ConfigError("--explain runs the model once for every item of a history: give --user or --history")
    if all_users and (allow or deny or category or request):
        raise ConfigError("--allow, --deny, --category and --request belong to one list: give --user or --history")
    if all_users and offset:
        raise ConfigError("--offset belongs to one list: give --user or --history")
    others = explain or request or rerank != "none" or strength is not None or rules is not None or offset
    if continue_with is not None and (all_users or others):
        raise ConfigError(
            "--continue lists items one after the other: leave out --all-users, --explain, --request, --rerank, "
            "--rules and --offset"
        )
    chosen = () if rules is None else _read_rules(rules)
    if chosen and in_parts:
        raise ConfigError("--rules writes one file: name a FILE.parquet as --out, not a directory of parts")
    with listening() as progress:
        recommender = load_recommender(run, progress, precision, runtime)
        reranking: dict[str, Any] = {"rerank": rerank, "strength": strength, "similarity": similarity}
        recommender.rerankers.check(rerank, strength, similarity)
        interactions = recommender.interactions
        if out is not None:
            if in_parts:
                from deftrec.bulk import Job

                job = Job.of(run, recommender, k=k, seen=seen, seed=seed, part_users=part_users, **reranking)
                _in_parts(recommender, job, run, out, engine, progress)
            else:
                how = {"k": k, "exclude_seen": seen == "exclude", "rules": chosen, "seed": seed}
                _everybody(recommender, out, progress, **how, rerank=_reranker(recommender, reranking))
            written = {"out": str(out), "users": interactions.n_users, "k": k}
            text = f"{out}: up to {k} items for each of {interactions.n_users:,} users"
            print(json.dumps(written) if as_json else text)
            return
        items, allowed, denied = (None if ids is None else split_ids(ids) for ids in (history, allow, deny))
        try:
            interactions.item_numbers([item for ids in (items, allowed, denied) for item in ids or []])
        except DataError as error:
            raise DataError(f"{error}; a new item is added to a run with 'deftrec items add'") from None
        asked: dict[str, Any] = {"exclude_seen": seen == "exclude", "allow": allowed, "deny": denied or []}
        asked |= {"category": category, "seed": seed}
        known = interactions.history(user) if user is not None else (items or [])
        if continue_with is not None:
            found = recommender.continue_list(known, continue_with, **asked)
        else:
            asked |= {"rules": chosen, "offset": offset, "rerank": _reranker(recommender, reranking)}
            asked |= {"request": request, "guidance": guidance, "explain": explain}
            found = recommender.recommend(user, history=items, k=k, **asked)
    notes = [] if request is None else list(recommender.requests.read(request, guidance).notes)
    understood = {} if request is None else {"request": request, "understood": notes}
    if as_json:
        hidden = [("explanation", None)] if explain else [("explanation", None), ("rules", ())]
        rows = [{key: value for key, value in asdict(one).items() if (key, value) not in hidden} for one in found]
        whole = {"history": known, "seen": seen, **understood, "recommendations": rows, "notes": found.notes}
        whole |= {"held_back": [asdict(one) for one in found.held_back]} if explain else {}
        print(json.dumps(whole if user is None else {"user": user, **whole}, indent=2, ensure_ascii=False))
        return
    console = output()
    titles = [interactions.title(int(number)) for number in interactions.item_numbers(known[-SHOWN:])]
    nothing = "empty, so the most popular items" if request is None else "empty, so popular items that are asked for"
    console.print("history: " + ("; ".join(titles) or nothing), markup=False)
    if notes:
        console.print(f"request: {'; '.join(notes)}", markup=False)
    console.print(recommendation_table(found))
    if explain:
        console.print(explanations(found))
    for note in found.notes:
        console.print(f"note: {note}", markup=False)


def similar(
    run: RunFolder,
    item: Annotated[str, option("Id of an item of the catalogue.", "ID")],
    k: K = 10,
    as_json: Json = False,
) -> None:
    """Show the items with the highest cosine similarity to an item in the latent space.

    Example: deftrec similar runs/ml-100k --item 50 -k 5
    """
    with listening() as progress:
        recommender = load_recommender(run, progress)
        found, interactions = recommender.similar(item, k), recommender.interactions
    title = interactions.title(int(interactions.item_numbers([item])[0]))
    if as_json:
        nearest = [{"item": one.item, "title": one.title, "score": one.score, "rank": one.rank} for one in found]
        print(json.dumps({"item": item, "title": title, "similar": nearest}, indent=2, ensure_ascii=False))
        return
    console = output()
    console.print(f"similar to: {title}", markup=False)
    console.print(recommendation_table(found))


def _reranker(recommender: "Recommender", reranking: dict[str, Any]) -> "Reranker | Literal['none']":
    made = recommender.reranker(reranking["rerank"], reranking["strength"], reranking["similarity"])
    return "none" if made is None else made


def _read_rules(path: Path) -> tuple["RuleOptions", ...]:
    from deftrec.retrieval import read_rules  # imports torch, after the options were checked

    return read_rules(path)


def _everybody(recommender: "Recommender", out: Path, progress: Progress, **request: Any) -> None:
    """Write the rankings of all users, some thousand users in memory at a time."""
    from deftrec.evaluation import write_rankings
    from deftrec.list_making import USERS_AT_ONCE

    n_users = recommender.interactions.n_users

    def counted() -> Iterator["pl.DataFrame"]:
        frames = recommender.recommend_all(**request)
        for done, frame in zip(range(0, n_users, USERS_AT_ONCE), frames, strict=True):
            progress.advance("users", min(USERS_AT_ONCE, n_users - done))
            yield frame

    progress.begin("users", n_users)
    write_rankings(out, counted())
    progress.end("users")


def _in_parts(
    recommender: "Recommender", job: "Job", run: Path, out: Path, engine: EngineName, progress: Progress
) -> None:
    """Write the parts that are missing in `out`."""
    from deftrec.bulk import ENGINES

    missing = job.begin(out)
    if len(missing) < job.parts:
        progress.say(f"{out}: {job.parts - len(missing):,} of {job.parts:,} parts are there")
    progress.begin("users", sum(len(job.members(part)) for part in missing))
    for users in ENGINES[engine](job, run, recommender, out, missing):
        progress.advance("users", users)
    progress.end("users")
