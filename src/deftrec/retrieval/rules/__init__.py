"""Rules: which items may be recommended, at which score and in which place.

`options` reads rules as users write them, `build` makes `Rule` objects of them, and `retrieval.lists` applies these.
"""

from deftrec.retrieval.rules.base import (
    LAST,
    Allow,
    Deny,
    ExcludeHistory,
    HistoryLast,
    Rule,
    request_rules,
    seen_rules,
)

__all__ = ["LAST", "Allow", "Deny", "ExcludeHistory", "HistoryLast", "Rule", "request_rules", "seen_rules"]
