"""The published data sets by name, for `deftrec data list` and `deftrec data fetch`."""

import difflib
from collections.abc import Iterator

from deftrec.data.sources.amazon import RELEASES, Amazon
from deftrec.data.sources.authors import AUTHORS
from deftrec.data.sources.base import Source
from deftrec.data.sources.lastfm import LastFM
from deftrec.data.sources.movielens import MovieLens1M, MovieLens32M, MovieLens100K, MovieLensLatestSmall
from deftrec.errors import DataError


def sources() -> Iterator[Source]:
    """All sources; each Amazon category is one."""
    yield from (MovieLens100K(), MovieLens1M(), MovieLensLatestSmall(), MovieLens32M(), LastFM(), *AUTHORS)
    for release in RELEASES.values():
        for category in sorted(release.categories.split()):
            yield Amazon(release, category)
            yield Amazon(release, category, "raw")


def source_named(name: str) -> Source:
    """The source with a name in any case; a `DataError`, which lists the nearest names, if there is none."""
    by_name = {source.about.name.lower(): source for source in sources()}
    found = by_name.get(name.lower().removesuffix("/5-core"))
    if found is None:
        near = difflib.get_close_matches(name.lower(), by_name, n=3, cutoff=0.4)
        nearest = " or ".join(by_name[one].about.name for one in near)
        hint = f"did you mean {nearest}? " if near else ""
        raise DataError(f"no data set is called {name!r}; {hint}'deftrec data list' shows them all")
    return found
