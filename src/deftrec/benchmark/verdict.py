"""What a table says, in words: the same in the terminal, in HTML and in Markdown."""

from collections.abc import Sequence

from deftrec.benchmark.tables import DEFTREC, Comparison, Failure, Summary, Table
from deftrec.formatting import duration, rules_of

CLEAR = 0.05
"""A difference with a larger p-value is not called one."""


def verdict(table: Table) -> str:
    """DeftRec against the best peer, in one sentence or two."""
    best = table.best_peer()
    if best is None:
        missing = next((one for one in table.failures if one.name == DEFTREC), None)
        return f"DeftRec could not be measured: {missing.reason}" if missing else "There is no peer to compare with."
    if not best.deftrec and not best.other:
        return f"Neither DeftRec nor any peer has a target among its ten best items ({table.users:,} users)."
    low, high = best.ci95
    words = (
        f"DeftRec reaches {ratio(best)} times the NDCG@10 of the best peer, {best.peer}{_doubt(table, best)}: "
        f"{best.deftrec:.4f} against {best.other:.4f}, a difference of {best.difference:+.4f} "
        f"(95 % interval {low:+.4f} to {high:+.4f}, {p_value(best.p)})."
    )
    if best.p < CLEAR:
        return words if best.difference > 0 else f"{words} DeftRec loses here."
    return f"{words} That is within the noise of {table.users:,} users."


def asked(table: Table) -> str:
    """What the table's numbers mean, in one line, and who left users out."""
    rules = rules_of(table.fit, table.seen)
    missing = {row.name: row.users_missing for row in table.models if row.users_missing}
    left_out = "".join(f"; {name} has no list for {count:,} of them, misses all" for name, count in missing.items())
    return f"{table.dataset}, {table.split} test: {table.users:,} users, every item ranked, {rules}{left_out}"


def how_measured(table: Table) -> str:
    """What every row has in common."""
    budget = "" if table.budget_minutes is None else (
        f" Each peer searched for settings for {table.budget_minutes:g} minutes at most, and DeftRec's joint stage had "
        "as long unless its recipe has a limit of its own; 'cut' stands where time ended a search or a training."
    )  # fmt: skip
    return (
        f"Every system left its best {table.depth} items a user in a file, and one evaluator measured all files, so "
        f"MRR counts the first {table.depth} places. Peers chose their settings on validation; there DeftRec chose its "
        "epochs and its prior, and LightGCN its epochs, while their other options are those of the recipe, and what it "
        "took to find these is in nobody's training time. DeftRec's parts share one training. Intervals and p-values "
        f"hold the sampling of users, not of seeds.{budget}"
    )


def training_time(one: Summary) -> str:
    """How long a system trained, and whether it would have gone on; empty where nobody knows."""
    if one.train_seconds is None:
        return ""
    return duration(one.train_seconds) + (", cut" if one.budget_cut else "")


def failures_line(failures: Sequence[Failure]) -> str:
    """Who is missing, in one line; for an exit code that is not 0."""
    (who, reason), *others = by_reason(failures)
    rest = f" (and {len(others)} more)" if others else ""
    return f"{who} could not be measured: {reason}{rest}"


def by_reason(failures: Sequence[Failure]) -> list[tuple[str, str]]:
    """Who failed and why; one entry for the seeds of a system that failed alike."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for one in failures:
        seeds.setdefault((one.name, one.reason), []).append(str(one.seed))
    return [
        (f"{name}, seed{'s' if len(of_name) > 1 else ''} {', '.join(of_name)}", reason)
        for (name, reason), of_name in seeds.items()
    ]


def ratio(one: Comparison) -> str:
    """How many times the other's value."""
    if one.ratio is not None:
        return f"{one.ratio:.2f}"
    return "∞" if one.deftrec else "–"


def p_value(p: float) -> str:
    """A p-value as it is written in a text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _doubt(table: Table, best: Comparison) -> str:
    peer = next(one for one in table.summaries if one.name == best.peer)
    if peer.fit == "unknown":
        return " (a file that was brought: what it was fitted on is unknown)"
    return " (whose search for settings the budget cut short)" if peer.budget_cut else ""
