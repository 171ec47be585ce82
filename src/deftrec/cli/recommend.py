"""`deftrec recommend` and `deftrec similar`: the next items, and the nearest items in the latent space."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from deftrec.cli.console import give, listening, output
from deftrec.cli.measure import load_recommender
from deftrec.cli.options import Json, JsonFile, K, Precision, RunFolder, Runtime, Seed, Seen, flag, option, split_ids
from deftrec.cli.rankings import (
    EngineName,
    RowFormat,
    check_users,
    counted,
    read_users,
    row_format,
    say_written,
    write_parts,
    write_rows,
)
from deftrec.cli.tables import explanations, recommendation_table
from deftrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    from deftrec.recommendation import Recommendations
    from deftrec.recommender import Recommender
    from deftrec.retrieval import RuleOptions

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
    all_users: Annotated[bool, flag("--all-users", "Recommend to all users: rows of user, item, rank, score.")] = False,
    users: Annotated[
        Path | None,
        option("Recommend to the users of this file: an id a line, or a table with the column user.", "FILE"),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "File of the rows of many users (default: stdout), or a directory of Parquet parts, where the same "
            "command again makes those that are missing.",
            "PATH",
        ),
    ] = None,
    form: Annotated[
        RowFormat | None, option("Format of the rows; default: that of --out's name, csv on stdout.", None, "--format")
    ] = None,
    titles: Annotated[bool, flag("--titles", "Add the column title to the rows.")] = False,
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
    json_file: JsonFile = None,
) -> None:
    """Recommend the next items.

    Example: deftrec recommend runs/ml-100k --history 50,181,174 -k 5
    """
    many = all_users or users is not None
    if request is not None and user is None and not many:
        history = history or ""
    if (user is not None) + (history is not None) + all_users + (users is not None) != 1:
        raise ConfigError("give one of --user ID, --history A,B,C, --users FILE and --all-users")
    if not many and (out is not None or form is not None or titles):
        raise ConfigError("--out, --format and --titles write the rows of many users: give --all-users or --users FILE")
    rows = row_format(out, form) if many else None
    in_parts = many and rows is None
    others = explain or request or rerank != "none" or strength is not None or rules is not None or offset
    if continue_with is not None and (many or others):
        raise ConfigError(
            "--continue lists items one after the other: leave out --all-users, --users, --explain, --request, "
            "--rerank, --rules and --offset"
        )
    if explain and many:
        raise ConfigError("--explain runs the model once for every item of a history: give --user or --history")
    if many and (as_json or json_file is not None) and out is None:
        raise ConfigError("--json is one list, or says what was written to --out; for rows give --format jsonl")
    if engine != "local" and not in_parts:
        raise ConfigError(f"--engine {engine} makes parts: give --all-users and a directory as --out")
    if in_parts and (users or titles or allow or deny or category or request or rules or offset):
        raise ConfigError(
            f"--out {out}: a directory of parts takes all users and no --titles, --allow, --deny, --category, "
            "--request, --rules and --offset; name a file as --out"
        )
    chosen = () if rules is None else _read_rules(rules)
    named = None if users is None else read_users(users)
    with listening() as progress:
        recommender = load_recommender(run, progress, precision, runtime)
        recommender.rerankers.check(rerank, strength, similarity)
        if in_parts:
            assert out is not None
            from deftrec.bulk import Job

            reranking: dict[str, Any] = {"rerank": rerank, "strength": strength, "similarity": similarity}
            job = Job.of(run, recommender, k=k, seen=seen, seed=seed, part_users=part_users, **reranking)
            write_parts(recommender, job, run, out, engine, progress)
            say_written(out, recommender.interactions.n_users, k, as_json, json_file)
            return
        items, allowed, denied = (None if ids is None else split_ids(ids) for ids in (history, allow, deny))
        _check_items(recommender, [*(items or []), *(allowed or []), *(denied or [])])
        asked: dict[str, Any] = {"exclude_seen": seen == "exclude", "allow": allowed, "deny": denied or []}
        asked |= {"category": category, "seed": seed}
        wish = None if request is None else recommender.requests.read(request, guidance)
        if continue_with is None:
            reranker = recommender.reranker(rerank, strength, similarity)
            asked |= {"rules": chosen, "offset": offset, "rerank": reranker or "none"}
            asked |= {"request": wish}
        if rows is not None:
            if users is not None and named is not None:
                check_users(users, named, recommender)
            count = recommender.interactions.n_users if named is None else len(named)
            frames = recommender.recommend_all(k, users=named, titles=titles, **asked)
            write_rows(counted(frames, count, progress), out, rows)
            if out is not None:
                say_written(out, count, k, as_json, json_file)
            return
        known = recommender.interactions.history(user) if user is not None else (items or [])
        if continue_with is not None:
            found = recommender.continue_list(known, continue_with, **asked)
        else:
            found = recommender.recommend(user, k, history=items, explain=explain, **asked)
    notes = [] if wish is None else list(wish.notes)
    understood = {} if request is None else {"request": request, "understood": notes}
    hidden = [("explanation", None)] if explain else [("explanation", None), ("rules", ())]
    listed = [{key: value for key, value in asdict(one).items() if (key, value) not in hidden} for one in found]
    whole = {"history": known, "seen": seen, **understood, "recommendations": listed, "notes": found.notes}
    whole |= {"held_back": [asdict(one) for one in found.held_back]} if explain else {}
    if give(whole if user is None else {"user": user, **whole}, as_json, json_file):
        return
    _show(recommender, known, found, request, notes, explain=explain)


def _show(
    recommender: "Recommender",
    history: list[Any],
    found: "Recommendations",
    request: str | None,
    understood: list[str],
    *,
    explain: bool,
) -> None:
    """Print one list below the end of its history."""
    console, interactions = output(), recommender.interactions
    titles = [interactions.title(int(number)) for number in interactions.item_numbers(history[-SHOWN:])]
    nothing = "empty, so the most popular items" if request is None else "empty, so popular items that are asked for"
    console.print("history: " + ("; ".join(titles) or nothing), markup=False)
    if understood:
        console.print(f"request: {'; '.join(understood)}", markup=False)
    console.print(recommendation_table(found))
    if explain:
        console.print(explanations(found))
    for note in found.notes:
        console.print(f"note: {note}", markup=False)


def similar(
    run: RunFolder,
    item: Annotated[list[str], option("Id of an item of the catalogue; repeatable, for a list each.", "ID")],
    k: K = 10,
    as_json: Json = False,
    json_file: JsonFile = None,
) -> None:
    """Show the items with the highest cosine similarity to an item in the latent space.

    Example: deftrec similar runs/ml-100k --item 50 -k 5
    """
    with listening() as progress:
        recommender = load_recommender(run, progress)
        lists, interactions = recommender.similar(item, k), recommender.interactions
    titles = [interactions.title(int(number)) for number in interactions.item_numbers(item)]
    rows = [
        {
            "item": one,
            "title": title,
            "similar": found.to_frame().select("item", "title", "score", "rank").to_dicts(),
        }
        for one, title, found in zip(item, titles, lists, strict=True)
    ]
    if give(rows[0] if len(rows) == 1 else rows, as_json, json_file):
        return
    console = output()
    for title, found in zip(titles, lists, strict=True):
        console.print(f"similar to: {title}", markup=False)
        console.print(recommendation_table(found))


def _check_items(recommender: "Recommender", items: list[str]) -> None:
    try:
        recommender.interactions.item_numbers(items)
    except DataError as error:
        raise DataError(f"{error}; a new item is added to a run with 'deftrec items add'") from None


def _read_rules(path: Path) -> tuple["RuleOptions", ...]:
    from deftrec.retrieval import read_rules  # imports torch, after the options were checked

    return read_rules(path)
