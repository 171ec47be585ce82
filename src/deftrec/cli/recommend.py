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
    from deftrec.retrieval import RuleOptions

EngineName: TypeAlias = Literal["local", "ray"]  # as in deftrec.bulk, which takes seconds to import
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
    rules: Annotated[Path | None, option("YAML file of business rules.", "FILE")] = None,
    offset: Annotated[int, option("Number of items before the list, for a later page.", min=0)] = 0,
    explain: Annotated[bool, flag("--explain", "Explain each recommendation, and what the rules did.")] = False,
    as_json: Json = False,
) -> None:
    """Recommend the next items.

    Example: deftrec recommend runs/ml-100k --history 50,181,174 -k 5
    """
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
    if all_users and (allow or deny or category):
        raise ConfigError("--allow, --deny and --category belong to one request: give --user or --history")
    if all_users and offset:
        raise ConfigError("--offset belongs to one request: give --user or --history")
    chosen = () if rules is None else _read_rules(rules)
    if chosen and in_parts:
        raise ConfigError("--rules writes one file: name a FILE.parquet as --out, not a directory of parts")
    with listening() as progress:
        recommender = load_recommender(run, progress, precision, runtime)
        interactions = recommender.interactions
        if out is not None:
            if in_parts:
                from deftrec.bulk import Job

                job = Job.of(run, recommender, k=k, seen=seen, seed=seed, part_users=part_users)
                _in_parts(recommender, job, run, out, engine, progress)
            else:
                _everybody(recommender, out, progress, k=k, exclude_seen=seen == "exclude", rules=chosen, seed=seed)
            written = {"out": str(out), "users": interactions.n_users, "k": k}
            text = f"{out}: up to {k} items for each of {interactions.n_users:,} users"
            print(json.dumps(written) if as_json else text)
            return
        items, allowed, denied = (None if ids is None else split_ids(ids) for ids in (history, allow, deny))
        try:
            interactions.item_numbers([item for ids in (items, allowed, denied) for item in ids or []])
        except DataError as error:
            raise DataError(f"{error}; a new item is added to a run with 'deftrec items add'") from None
        request: dict[str, Any] = {"exclude_seen": seen == "exclude", "allow": allowed, "deny": denied or []}
        request |= {"category": category, "rules": chosen, "offset": offset, "seed": seed, "explain": explain}
        found = recommender.recommend(user, history=items, k=k, **request)
    known = interactions.history(user) if user is not None else (items or [])
    if as_json:
        hidden = [("explanation", None)] if explain else [("explanation", None), ("rules", ())]
        rows = [{key: value for key, value in asdict(one).items() if (key, value) not in hidden} for one in found]
        whole = {"history": known, "seen": seen, "recommendations": rows, "notes": found.notes}
        whole |= {"held_back": [asdict(one) for one in found.held_back]} if explain else {}
        print(json.dumps(whole if user is None else {"user": user, **whole}, indent=2, ensure_ascii=False))
        return
    console = output()
    titles = [interactions.title(int(number)) for number in interactions.item_numbers(known[-SHOWN:])]
    console.print("history: " + ("; ".join(titles) or "empty, so the most popular items"), markup=False)
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


def _read_rules(path: Path) -> tuple["RuleOptions", ...]:
    from deftrec.retrieval import read_rules  # imports torch, after the options were checked

    return read_rules(path)


def _everybody(recommender: "Recommender", out: Path, progress: Progress, **request: Any) -> None:
    """Write the rankings of all users, some thousand users in memory at a time."""
    from deftrec.evaluation import write_rankings
    from deftrec.recommender import USERS_AT_ONCE

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
