"""Which column of a table is the user, the item, the time, the title: recognised by the names that are in use."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import polars as pl

IDS = {
    "user": """user customer client member visitor reviewer account profile player person buyer subscriber viewer
        listener reader student learner consumer shopper household guest""",
    "item": """item product article movie film book song track artist album news video game business recipe anime venue
        place restaurant hotel listing offer goods course job app show beer podcast post paper photo poi content""",
}
"""Nouns whose names with "id" are columns of ids: `user_id`, `movieId`."""

OTHERS = {
    "user": """user customer client member visitor reviewer uid username profilename reviewprofilename userpseudoid
        email customeremail emailaddress sessionid session""",
    "item": """item product article movie film book song track artist album news video game iid sku productsku
        parentasin asin isbn stockcode ean gtin upc gmapid beerbeerid lineitemsku lineitemname""",
    "time": """time timestamp ts unixreviewtime unixtime epoch datetime eventtime eventtimestamp createdat reviewtime
        ratedat dateadded invoicedate orderdate purchasedate eventdate reviewdate tdat date""",
    "value": "value rating ratings stars starrating overall score reviewscore reviewoverall bookrating",
    "kind": """kind eventtype eventname event action actiontype actionname behavior behaviour behaviortype behaviourtype
        interactiontype activitytype activity eventkind interaction""",
    "title": """title lineitemname name itemtitle itemname producttitle productname prodname movietitle booktitle
        originaltitle gametitle gamename tracktitle trackname songname albumname artistname videotitle newstitle
        headline label""",
    "category": """category categories genre genres categoryname categorycode maincategory maincat producttype
        producttypename department section topic class listedin tags tagsvalue""",
    "text": """text description desc longdescription shortdescription productdescription itemdescription detaildesc
        overview synopsis plot abstract summary blurb content body""",
    "brand": "brand brandname manufacturer store author authors bookauthor artist artistname",
}
ATTRIBUTES = """price unitprice lineitemprice listprice saleprice cost discount brand brandname manufacturer vendor
    publisher author authors director directors artist label stock instock quantityinstock inventory availability
    available colour color size material year releaseyear releasedate publicationdate publicationyear publishdate
    publisheddate datepublished launchdate language country region city gender agegroup season condition pages numpages
    duration runtime length weight calories abv"""
"""Names of columns that are attributes of items."""

_ATTRIBUTES = frozenset(ATTRIBUTES.split())
NAMES = {role: [f"{noun}id" for noun in IDS.get(role, "").split()] + names.split() for role, names in OTHERS.items()}
"""Names of the columns of each role, the best first, in lower case, without anything but letters and digits."""

ID_OF_ITEMS = "id"  # in a table of items alone: elsewhere it is the id of an event


@dataclass(frozen=True)
class Reading:
    """Columns that were taken from a table, and those that were not.

    Attributes:
        file: name of the table.
        columns: column of each role.
        others: further columns that would do for a role.
        ignored: columns that were not read.
        attributes: columns that were taken as attributes of the items.
        notes: other things that the user should know.
    """

    file: str
    columns: Mapping[str, str]
    others: Mapping[str, list[str]]
    ignored: list[str]
    notes: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        taken = ", ".join(f"{role} {column!r}" + self._instead(role) for role, column in self.columns.items())
        if self.attributes:
            taken += f", attributes {', '.join(map(repr, self.attributes))}"
        ignored = ", ".join(map(repr, self.ignored[:20])) + (", ..." if len(self.ignored) > 20 else "")
        return "; ".join([f"{self.file}: {taken}", f"ignored: {ignored or 'nothing'}", *self.notes])

    @property
    def is_plain(self) -> bool:
        """Whether every column is named like its role, and nothing was ignored."""
        extra = self.ignored or self.notes or self.attributes
        return not extra and all(role == column for role, column in self.columns.items())

    def _instead(self, role: str) -> str:
        names = " or ".join(map(repr, self.others.get(role, [])))
        return f" (not {names}; `{role}=...` names another)" if names else ""


def candidates(role: str, columns: Mapping[str, pl.DataType]) -> list[str]:
    """The columns that may have a role, by their names, the best first; columns of records are none of them.

    Upper case, spaces and other characters between letters do not matter, nor does what stands before a slash.
    """
    known = {name: rank for rank, name in enumerate([role, *NAMES[role]])}
    found = {
        name: known[plain]
        for name, dtype in columns.items()
        if (plain := _plain(name)) in known and (name == role or not _holds_records(dtype))
    }
    return sorted(found, key=lambda name: (name != role, found[name]))


def recognise(file: str, columns: Mapping[str, pl.DataType], given: Mapping[str, str | None]) -> Reading:
    """Find the column of each role; a column has one role.

    Args:
        file: name of the table.
        columns: names and types of its columns.
        given: column of each role; an empty name stands for the best of `candidates`, `None` for no column.
    """
    taken = {role: name for role, name in given.items() if name}
    others = dict[str, list[str]]()
    for role, name in given.items():
        if name == "":
            free = [one for one in candidates(role, columns) if one not in taken.values()]
            if free:
                taken[role] = free[0]
                others |= {role: free[1:]} if free[1:] else {}
    taken = {role: taken[role] for role in given if role in taken}
    return Reading(file, taken, others, [name for name in columns if name not in taken.values()])


def attribute_columns(columns: Mapping[str, pl.DataType], taken: Collection[str]) -> list[str]:
    """The columns that are attributes of items by their names, without those that are `taken`."""
    return [
        name
        for name, dtype in columns.items()
        if name not in taken and _plain(name) in _ATTRIBUTES and not _holds_records(dtype)
    ]


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.rsplit("/", 1)[-1].lower()) or name


def _holds_records(dtype: pl.DataType) -> bool:
    inner = getattr(dtype, "inner", None)
    return isinstance(dtype, pl.Struct) or (inner is not None and _holds_records(inner))
