"""Business rules: what they accept, the items they mean, and lists that equal those of a plain reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deftrec.data import PADDING, Interactions, Meta, Sequences
from deftrec.errors import ConfigError
from deftrec.retrieval import ItemColumns, build_rules, list_notes, make_lists, parse_rules, read_rules, rule_effects
from deftrec.retrieval.rules import ExcludeHistory

DAY, START = 86_400, 1_600_000_000
KINDS = ["Drama", "Horror", "Drama|Comedy", ""]
ITEMS = 40


def catalogue(unit: float = 1.0, items: int = ITEMS) -> Interactions:
    """Item n is first seen on day n, has kind n % 4, a price of n (null: 5), and is on offer if n % 3 is 0."""
    numbers = list(range(items))
    times = [int((START + DAY * n) * unit) for n in numbers]
    events = pl.DataFrame({"user": [f"u{n % 4}" for n in numbers], "item": numbers, "time": times})
    about = pl.DataFrame(
        {
            "item": list(range(items)),
            "title": [f"The Vampire, part {n}" if n % 5 == 0 else f"Vampires {n}" for n in range(items)],
            "category": [KINDS[n % 4] for n in range(items)],
        }
    )
    made = Interactions.from_frame(events, about, meta=Meta(name="shop"))
    made.catalogue.insert_column(-1, made.catalogue["item"].cast(pl.Float64).replace(5, None).alias("price"))
    made.catalogue.insert_column(-1, (made.catalogue["item"] % 3 == 0).alias("offer"))
    return made


DATA = catalogue()
COLUMNS = ItemColumns(DATA, np.asarray(DATA.catalogue["item"] * 2))
IDS = DATA.catalogue["item"].to_list()


def members(condition: dict[str, Any]) -> set[int]:
    """Ids of the items that meet a condition."""
    [option] = parse_rules([{"allow": condition}])
    assert option.allow is not None
    return {IDS[n] for n in COLUMNS.items(option.allow).nonzero()[:, 0].tolist()}


@pytest.mark.parametrize(
    ("condition", "meets"),
    [
        ({"column": "category", "is": "Drama"}, lambda n: n % 4 in (0, 2)),
        ({"column": "category", "is": ["Comedy", "Horror"]}, lambda n: n % 4 in (1, 2)),
        ({"column": "title", "words": "vampire"}, lambda n: n % 5 == 0),
        ({"column": "title", "words": ["PART 10", "vampires 11"]}, lambda n: n in (10, 11)),
        ({"column": "title", "words": "vampire part"}, lambda n: n % 5 == 0),
        ({"column": "item", "is": [3, "4"]}, lambda n: n in (3, 4)),
        ({"column": "popularity", "at_least": 10}, lambda n: n >= 5),
        ({"column": "price", "at_most": 6}, lambda n: n <= 6 and n != 5),
        ({"column": "price", "at_least": 5, "at_most": 6}, lambda n: n == 6),
        ({"column": "price", "is": [7, 8.0, 1e9]}, lambda n: n in (7, 8)),
        ({"column": "offer", "is": True}, lambda n: n % 3 == 0),
        ({"column": "age", "at_most": 2}, lambda n: n >= ITEMS - 3),
        ({"new": "2 days"}, lambda n: n >= ITEMS - 3),
        ({"new": "1 week"}, lambda n: n >= ITEMS - 8),
        ({"new": "12 hours"}, lambda n: n == ITEMS - 1),
    ],
)
def test_a_condition_means_these_items(condition: dict[str, Any], meets: Any) -> None:
    assert members(condition) == {n for n in range(ITEMS) if meets(n)}


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_times_have_their_unit_by_their_size(unit: int) -> None:
    age = ItemColumns(catalogue(unit), np.zeros(ITEMS)).age
    assert np.allclose(age, [ITEMS - 1 - item for item in IDS], atol=1e-6)


def test_an_item_without_events_is_new() -> None:
    from deftrec.data.extend import extended

    new = pl.DataFrame({"item": [99], "title": "", "category": "", "text": ""})
    plain = Interactions.from_frame(DATA.events(), DATA.catalogue.select("item", "category"))
    events = plain.events().clear()
    assert ItemColumns(extended(plain, new, events), np.zeros(ITEMS + 1)).age[-1] == 0


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{"deny": {"column": "categry", "is": "Horror"}}], "no column 'categry'; did you mean 'category'?"),
        ([{"deny": {"column": "category", "is": ["Horor"]}}], "category 'Horor'; did you mean 'Horror'?"),
        ([{"allow": {"column": "category", "at_least": 3}}], "'category' holds text; give is or words"),
        ([{"allow": {"column": "price", "words": ["a"]}}], "'price' holds numbers; give is, at_least"),
        ([{"allow": {"column": "price", "is": ["cheap"]}}], "'price' holds numbers, not 'cheap'"),
        ([{"pin": {"item": "400", "position": 1}}], "item '400' is not in the catalogue; did you mean '"),
        ([{"pin": {"item": 3, "position": 1}}, {"pin": {"item": 4, "position": 1}}], "two items are fixed"),
        ([{"pin": {"item": 3, "position": 1}}, {"pin": {"item": 3, "position": 2}}], "item '3' has two positions"),
    ],
)  # fmt: skip
def test_what_the_catalogue_does_not_have_is_named(rules: list[Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        build_rules(parse_rules(rules), COLUMNS)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("deny", "rules: rules are a list of mappings with one key each"),
        ({"deny": {}}, "rules are a list"),
        (7, "rules are a list"),
        ([7], "rule 1: "),
        ([{}], "rule 1: a rule has one key, one of allow, deny, boost"),
        ([{"deny": {"new": "3 days"}, "allow": {"new": "3 days"}}], "a rule has one key"),
        ([{"deny": {"new": "3 days"}}, {"dney": {}}], "rule 2: unknown key 'dney'; did you mean 'deny'?"),
        ([{"deny": {"colum": "x", "is": "y"}}], "rule 1: deny: unknown key 'colum'; did you mean 'column'?"),
        ([{"deny": {"column": "x", "is_": "y"}}], "unknown key 'is_'; did you mean 'is'?"),
        ([{"deny": {"is": "y"}}], "deny: give a column, or new"),
        ([{"deny": {"column": "x"}}], "give one of is, words, and at_least or at_most"),
        ([{"deny": {"column": "x", "is": "y", "words": "z"}}], "give one of is, words"),
        ([{"deny": {"column": "x", "is": "y", "new": "3 days"}}], "new stands alone"),
        ([{"deny": {"column": "x", "is": []}}], "deny.is: "),
        ([{"deny": {"column": "x", "is": [[1]]}}], "deny.is.0: "),
        ([{"deny": {"column": "x", "is": None}}], "give one of is"),
        ([{"deny": {"column": "x", "is": float("nan")}}], "deny.is.0: "),
        ([{"deny": {"column": "x", "words": ["..."]}}], "deny.words.0: "),
        ([{"deny": {"column": "x", "at_least": float("inf")}}], "deny.at_least: "),
        ([{"allow": {"new": 30}}], "allow.new: a duration is a number and a unit, such as 30 days"),
        ([{"allow": {"new": "30 dayz"}}], "a duration is"),
        ([{"allow": {"new": "0 days"}}], "a duration is"),
        ([{"allow": {"new": "-1 days"}}], "a duration is"),
        ([{"boost": {"column": "x", "is": "y"}}], "boost.factor: Field required"),
        ([{"boost": {"column": "x", "is": "y", "factor": 0.5}}], "factor: Input should be greater than 1, not 0.5"),
        ([{"bury": {"column": "x", "is": "y", "factor": float("inf")}}], "bury.factor: "),
        ([{"fresh": {}}], "fresh.half_life: Field required"),
        ([{"quota": {"column": "x"}}], "quota: give at_least, at_most or both"),
        ([{"quota": {"at_most": 2}}], "quota: give a column"),
        ([{"quota": {"column": "x", "new": "3 days", "at_most": 2}}], "quota: give a column"),
        ([{"quota": {"column": "x", "at_least": 1}}], "at_least needs a condition"),
        ([{"quota": {"new": "3 days", "at_least": 11}}], "at least 11 of the first 10 cannot be; raise within"),
        ([{"quota": {"new": "3 days", "at_least": 3, "at_most": 2}}], "at_least is above at_most"),
        ([{"quota": {"new": "3 days", "at_most": 0}}], "quota.at_most: "),
        ([{"exclude": {"seen": "yes"}}], "exclude.seen: a duration is"),
        ([{"pin": {"item": 3, "position": 0}}], "pin.position: "),
        ([{"pin": {"item": [3], "position": 1}}], "pin.item: "),
    ],
)  # fmt: skip
def test_a_rule_that_is_none_says_so(rules: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_rules(rules)
    assert words in str(error.value)


def test_a_file_is_named_with_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- deny: {column: category, is: [Horror]}\n- allow: {new: soon}\n")
    with pytest.raises(ConfigError, match=r"rules\.yaml: rule 2: allow\.new: a duration"):
        read_rules(path)
    path.write_text("- deny: {column: category, is: [Horror]\n")
    with pytest.raises(ConfigError, match=r"rules\.yaml: not YAML"):
        read_rules(path)
    path.write_text("- deny: {column: a, is: b}\n  deny: {column: a, is: c}\n")
    with pytest.raises(ConfigError, match=r"rules\.yaml: 'deny' stands there twice"):
        read_rules(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_rules(tmp_path / "absent.yaml")
    path.write_text("")
    assert read_rules(path) == ()


def test_times_that_are_none_are_named() -> None:
    plain = Interactions.from_frame(pl.DataFrame({"user": ["a"] * 3, "item": [1, 2, 3], "time": [1, 2, 3]}))
    with pytest.raises(ConfigError, match="its times are no clock times"):
        build_rules(parse_rules([{"fresh": {"half_life": "3 days"}}]), ItemColumns(plain, np.zeros(3)))
    with pytest.raises(ConfigError, match="a plain history has no event times; give a user of the data"):
        build_rules(parse_rules([{"exclude": {"seen": "3 days"}}]), COLUMNS, timed=False)


# -- lists -----------------------------------------------------------------------------------------------------


def ranked(
    scores: torch.Tensor, rules: list[Any], k: int, histories: Sequences | None = None, seen: bool = False
) -> list[int]:
    """Ids of a list; nothing stands behind its end."""
    histories = Sequences.from_lists([[]]) if histories is None else histories
    built = build_rules(parse_rules(rules), COLUMNS)
    found = make_lists(scores.clone()[None], histories, k, (*built, *((ExcludeHistory(),) if seen else ())))
    items = found.items[0].tolist()
    full = [item for item in items if item != PADDING]
    assert items == full + [PADDING] * (min(k, ITEMS) - len(full))
    assert len(set(full)) == len(full)
    assert torch.equal(found.scores[0] == -torch.inf, found.items[0] == PADDING)
    return [IDS[item] for item in full]


def reference(
    scores: torch.Tensor,
    permitted: set[int],
    k: int,
    *,
    at_most: int = 99,
    minimums: Sequence[tuple[set[int], int, int]] = (),
    pins: dict[int, int] | None = None,
) -> list[int]:
    """A list made item by item: `at_most` of a category, (items, count, places) of minimums, pins by position."""
    order = sorted(range(ITEMS), key=lambda number: (-scores[number].item(), number))
    left = [IDS[number] for number in order if IDS[number] in permitted]
    ahead = {position - 1: item for position, item in (pins or {}).items() if item in permitted}
    left = [item for item in left if item not in ahead.values()]
    found: list[int] = []

    def fits(item: int) -> bool:
        kinds = [kind for kind in KINDS[item % 4].split("|") if kind]
        counted = [*found, *ahead.values()]
        return all(sum(kind in KINDS[one % 4].split("|") for one in counted) < at_most for kind in kinds)

    def needed(item: int) -> bool:
        place = len(found)
        for _, _, within in minimums:
            due = [one for one in minimums if place < one[2] <= within]
            open_places = sum(at not in ahead for at in range(place, within))
            lacks = []
            for some, count, places in due:
                there = [one for one in found[:places] if one in some]
                there += [one for at, one in ahead.items() if at < places and one in some]
                lacks.append((some, max(0, count - len(there))))
            if place < within and sum(count for _, count in lacks) >= open_places:
                lacking = set().union(*(some for some, count in lacks if count))
                if lacking and item not in lacking:
                    return False
        return True

    while len(found) < k:
        if len(found) in ahead:
            found.append(ahead.pop(len(found)))
            continue
        fitting = [item for item in left if fits(item)]
        wanted = [item for item in fitting if needed(item)] or fitting
        if wanted:
            found.append(wanted[0])
            left.remove(wanted[0])
        elif ahead:
            found.append(ahead.pop(min(ahead)))
        else:
            break
    return found


@st.composite
def situations(draw: st.DrawFn) -> tuple[torch.Tensor, list[Any], dict[str, Any]]:
    """Scores with ties, rules, and what `reference` needs to know of them."""
    levels = draw(st.integers(2, 60))
    scores = torch.tensor(draw(st.lists(st.integers(0, levels), min_size=ITEMS, max_size=ITEMS))).float()
    rules: list[Any] = []
    known: dict[str, Any] = {"permitted": set(range(ITEMS)), "minimums": []}
    if draw(st.booleans()):
        denied = draw(st.sets(st.sampled_from(IDS), min_size=1, max_size=35))
        rules.append({"deny": {"column": "item", "is": sorted(denied)}})
        known["permitted"] -= denied
    if draw(st.booleans()):
        rules.append({"allow": {"column": "category", "is": ["Horror", "Comedy"]}})
        known["permitted"] = {item for item in known["permitted"] if item % 4 in (1, 2)}
    if draw(st.booleans()):
        known["at_most"] = draw(st.integers(1, 4))
        rules.append({"quota": {"column": "category", "at_most": known["at_most"]}})
    for _ in range(draw(st.integers(0, 2))):
        some = draw(st.sets(st.sampled_from(IDS), min_size=1, max_size=6))
        within = draw(st.integers(1, 12))
        count = draw(st.integers(1, min(3, within)))
        rules.append({"quota": {"column": "item", "is": sorted(some), "at_least": count, "within": within}})
        known["minimums"].append((some, count, within))
    positions = draw(st.dictionaries(st.integers(1, 15), st.sampled_from(IDS), max_size=3))
    if len(set(positions.values())) == len(positions):
        rules += [{"pin": {"item": item, "position": position}} for position, item in positions.items()]
        known["pins"] = positions
    return scores, draw(st.permutations(rules)), known


@given(situations(), st.integers(1, 45))
def test_lists_equal_the_reference(situation: Any, k: int) -> None:
    scores, rules, known = situation
    assert ranked(scores, rules, k) == reference(scores, known.pop("permitted"), k, **known)


@given(situations(), st.integers(1, 12))
def test_pages_neither_repeat_nor_skip(situation: Any, size: int) -> None:
    scores, rules, _ = situation
    whole = ranked(scores, rules, 45)
    pages = [ranked(scores, rules, start + size)[start:] for start in range(0, 45, size)]
    assert [item for page in pages for item in page][:45] == whole


def test_a_list_considers_every_item_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deftrec.retrieval.lists.CANDIDATES", 3)
    scores = -torch.tensor(IDS).float()
    assert ranked(scores, [{"quota": {"column": "category", "is": "Drama", "at_most": 1}}], 4) == [0, 1, 3, 5]
    assert ranked(scores, [{"quota": {"new": "0.5 days", "at_least": 1, "within": 3}}], 4) == [0, 1, 39, 2]
    assert ranked(scores, [{"quota": {"column": "category", "at_most": 1}}], 40) == [0, 1, *range(3, 40, 4)]


def test_a_boost_multiplies_and_a_bury_divides_the_probability() -> None:
    scores, nobody = torch.randn(1, ITEMS), Sequences.from_lists([[]])
    rules = parse_rules(
        [
            {"boost": {"column": "category", "is": "Horror", "factor": 3}},
            {"bury": {"column": "title", "words": "vampire", "factor": 2}},
            {"fresh": {"half_life": "10 days"}},
        ]
    )
    changed = scores.clone()
    for rule in build_rules(rules, COLUMNS):
        rule.apply(changed, nobody)
    factors = [(3 if n % 4 == 1 else 1) / (2 if n % 5 == 0 else 1) * 0.5 ** ((39 - n) / 10) for n in IDS]
    assert torch.allclose(changed.exp(), scores.exp() * torch.tensor(factors), rtol=1e-4)


def test_items_seen_lately_are_left_out() -> None:
    user = DATA.user_number("u0")  # items 0, 4, .. 36, on days of the same numbers; the newest event is on day 39
    histories = Sequences(DATA.sequences.items, DATA.sequences.offsets, {"day": DATA.days}).select([user])  # type: ignore[dict-item]
    rule = [{"exclude": {"seen": "11 days"}}]
    assert set(range(40)) - set(ranked(torch.zeros(ITEMS), rule, 40, histories)) == {28, 32, 36}
    later = histories.with_columns(day=histories.columns["day"] + 100)  # newer than the data
    assert set(range(40)) - set(ranked(torch.zeros(ITEMS), rule, 40, later)) == {28, 32, 36}
    with pytest.raises(ConfigError, match="plain history has no event times"):
        ranked(torch.zeros(ITEMS), rule, 40, Sequences.from_lists([[1]]))


def test_notes_say_why_a_list_is_short_or_not_as_told() -> None:
    scores = -torch.tensor(IDS).float()

    def notes(k: int, *rules: Any) -> tuple[str, ...]:
        built = build_rules(parse_rules(rules), COLUMNS)
        found = make_lists(scores.clone()[None], Sequences.from_lists([[]]), k, built).items[0].tolist()
        return list_notes([item for item in found if item >= 0], k, built)

    only = {"allow": {"column": "item", "is": [1, 2]}}
    assert notes(2, only) == ()
    ends = "the list ends after 2 of 3 items: no other items are left under allow: item 1, 2"
    assert notes(3, only) == (ends,)
    denied = {"pin": {"item": 5, "position": 1}}
    assert notes(2, only, denied) == ("pin: item 5 is not at position 1: another rule excludes it",)
    up = {"pin": {"item": 2, "position": 9}}
    assert notes(3, only, up) == ("pin: item 2 stands at position 2: no items are left before it", ends)
    new = {"quota": {"new": "1 day", "at_least": 3}}
    said = "quota: new within 1 days at least 3 of the first 10: the first {} hold {}"
    assert notes(12, new) == (said.format(10, 2),)
    assert notes(4, new) == (said.format(4, 0),)
    assert notes(12, {"quota": {"new": "1 day", "at_least": 2}}) == ()


def test_effects_name_the_rule() -> None:
    scores, nobody = -torch.tensor(IDS).float()[None], Sequences.from_lists([[]])
    rules = build_rules(
        parse_rules(
            [
                {"deny": {"column": "item", "is": 3}},
                {"boost": {"column": "item", "is": 7, "factor": 1e6}},
                {"bury": {"column": "item", "is": 0, "factor": 1e6}},
                {"quota": {"column": "category", "at_most": 2}},
                {"quota": {"new": "1 day", "at_least": 1, "within": 4}},
                {"pin": {"item": 9, "position": 1}},
            ]
        ),
        COLUMNS,
    )
    before = scores.clone()
    effects = rule_effects(scores, nobody, slice(0, 5), rules)
    assert torch.equal(scores, before)
    assert {IDS[item]: done for item, done in effects.done.items()} == {
        9: ("fixed at position 1",),
        7: ("boosted x1e+06: item 7",),
        1: (),
        38: ("placed by quota: new within 1 days at least 1",),
        2: (),
    }
    assert {IDS[item]: why for item, why in effects.held_back.items()} == {
        0: "bury /1e+06: item 0",
        3: "deny: item 3",
        4: "others that are fixed at position 1, boosted x1e+06: item 7, placed by quota: new within 1 days at least 1",
    }
    quota = build_rules(parse_rules([{"quota": {"column": "category", "at_most": 1}}]), COLUMNS)
    held = rule_effects(scores, nobody, slice(0, 3), quota).held_back
    assert {IDS[item]: why for item, why in held.items()} == {2: "quota: category Drama at most 1"}
