"""Sentences about a table, shared by the terminal, HTML and Markdown."""

from collections.abc import Sequence

from deftrec.benchmark.tables import DEFTREC, BenchmarkTable, Failure, PeerComparison, SystemSummary
from deftrec.formatting import duration, rules_of

CLEAR = 0.05  # largest p-value of a difference that is reported as one


def verdict(table: BenchmarkTable) -> str:
    """Compare DeftRec with the best peer in one sentence or two."""
    best = table.best_peer()
    if best is None:
        return _without_comparison(table)
    peer = next(one for one in table.summaries if one.name == best.peer)
    doubt = " (whose search for settings the budget cut short)" if peer.budget_cut else ""
    if peer.fit == "unknown":
        doubt = " (rankings from a file, with an unknown fit)"
    if not best.deftrec and not best.other:
        return f"Neither DeftRec nor any peer has a target among its ten best items ({table.users:,} users)."
    low, high = best.ci95
    text = (
        f"DeftRec reaches {ratio(best)} times the NDCG@10 of the best peer, {best.peer}{doubt}: "
        f"{best.deftrec:.4f} against {best.other:.4f}, a difference of {best.difference:+.4f} "
        f"(95 % interval {low:+.4f} to {high:+.4f}, {p_value(best.p)})."
    )
    if best.p < CLEAR:
        return text if best.difference > 0 else f"{text} DeftRec loses here."
    return f"{text} That is within the noise of {table.users:,} users."


def _without_comparison(table: BenchmarkTable) -> str:
    if not any(one.name == DEFTREC for one in table.summaries):
        missing = next((one.reason for one in table.failures if one.name == DEFTREC), None)
        return f"DeftRec could not be measured: {missing}" if missing else "DeftRec was not measured."
    if table.failures:
        return f"No peer could be measured: {failures_line(table.failures)}"
    return "There is no peer to compare with."


def protocol_line(table: BenchmarkTable) -> str:
    """Describe the evaluation protocol in one line, with the systems that left users out."""
    missing = {row.name: row.users_missing for row in table.models if row.users_missing}
    left_out = [f"; {name} has no list for {count:,} of them, which count as misses" for name, count in missing.items()]
    rules = rules_of(table.fit, table.seen) + "".join(left_out)
    return f"{table.dataset}, {table.split} test: {table.users:,} users, every item ranked, {rules}"


def how_measured(table: BenchmarkTable) -> str:
    """Describe the procedure that all rows share."""
    budget = "" if table.budget_minutes is None else (
        f" Each peer searched for settings for at most {table.budget_minutes:g} minutes. DeftRec's joint training had "
        "the same limit unless its recipe sets one. 'cut' marks a search or training that the limit ended."
    )  # fmt: skip
    return (
        f"Every system wrote its best {table.depth} items per user to a file, and one evaluator measured all files. "
        "Peers chose their settings on validation. DeftRec chose its epochs and its prior there, LightGCN its epochs; "
        "their other options come from the recipe, and the time to find those is not counted. DeftRec's parts share "
        f"one training. Intervals and p-values measure the sampling of users, not of seeds.{budget}"
    )


def training_time(one: SystemSummary) -> str:
    """Format the training time, with a mark where the budget ended it; empty if unknown."""
    if one.train_seconds is None:
        return ""
    return duration(one.train_seconds) + (", cut" if one.budget_cut else "")


def failures_line(failures: Sequence[Failure]) -> str:
    """Name the first missing system and its reason, in one line."""
    (who, reason), *others = by_reason(failures)
    rest = f" (and {len(others)} more)" if others else ""
    return f"{who} could not be measured: {reason}{rest}"


def by_reason(failures: Sequence[Failure]) -> list[tuple[str, str]]:
    """Group failures: one entry for all seeds of a system with the same reason."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for one in failures:
        seeds.setdefault((one.name, one.reason), []).append(str(one.seed))
    return [
        (f"{name}, seed{'s' if len(of_name) > 1 else ''} {', '.join(of_name)}", reason)
        for (name, reason), of_name in seeds.items()
    ]


def ratio(one: PeerComparison) -> str:
    """Format DeftRec's value over the peer's."""
    if one.ratio is not None:
        return f"{one.ratio:.2f}"
    return "∞" if one.deftrec else "–"


def p_value(p: float) -> str:
    """Format a p-value for a text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
