"""Last.fm from HetRec 2011: tags that users gave to artists, with their times.

I. Cantador, P. Brusilovsky and T. Kuflik, "2nd Workshop on Information Heterogeneity and Fusion in Recommender
Systems", RecSys 2011.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import polars as pl

from deftrec.data.download import sha256_of
from deftrec.data.prepare import Raw
from deftrec.data.sources.base import About, RemoteFile, Source
from deftrec.errors import DataError

EARLIEST = 1_009_843_200_000
"""2002-01-01 in milliseconds, the year Last.fm was founded. A few tags in the file are dated decades earlier."""


class LastFM(Source):
    """Last.fm 2K. An interaction is a user's first tag of an artist; the archive's listening counts have no times.

    The tags are the artists' categories. A user's tags of the last two artists, the leave-one-out targets, are left
    out: they belong to the interactions to predict. With the temporal split, some tags can be later than a target.
    """

    about: ClassVar[About] = About(  # type: ignore[misc]
        name="lastfm-2k",
        title="Last.fm 2K (HetRec 2011)",
        size="186,479 tag assignments, 1,892 users, 17,632 artists; 2.6 MB",
        licence="non-commercial use (readme of the archive)",
        citation='Cantador, Brusilovsky and Kuflik, "2nd Workshop on Information Heterogeneity and Fusion in '
        'Recommender Systems (HetRec 2011)", RecSys 2011',
        homepage="https://grouplens.org/datasets/hetrec-2011/",
        domain="artists",
        files=(RemoteFile(url="https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip"),),
    )

    def read(self, files: Mapping[str, Path]) -> Raw:
        """Read the archive; `prepare` turns the tags into categories. See `Source.read`."""
        (archive,) = files.values()
        try:
            with zipfile.ZipFile(archive) as content:
                tagged = _table(content, "user_taggedartists-timestamps.dat").select(
                    pl.col("userID", "artistID", "tagID", "timestamp").cast(pl.Int64)
                )
                artists = _table(content, "artists.dat").select(pl.col("id").cast(pl.Int64), "name")
                tags = _table(content, "tags.dat").select(pl.col("tagID").cast(pl.Int64), "tagValue")
        except (zipfile.BadZipFile, KeyError, EOFError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{archive}: not the archive of {self.about.name} ({reason}); delete it and fetch again"
            ) from error
        possible = tagged.filter(pl.col("timestamp") >= EARLIEST)
        events = (
            possible.group_by("userID", "artistID")
            .agg(pl.col("timestamp").min())
            .sort("userID", "artistID")
            .rename({"userID": "user", "artistID": "item", "timestamp": "time"})
        )
        items = artists.rename({"id": "item", "name": "title"})
        called = tagged.join(tags, on="tagID").select(
            pl.col("userID").alias("user"), pl.col("artistID").alias("item"), pl.col("tagValue").alias("tag")
        )
        notes = {
            "first_tag_per_user_and_artist": True,
            "tags_before_2002_dropped": tagged.height - possible.height,
            "categories_without_tags_of_last_two_artists": True,
        }
        sha256 = {archive.name: sha256_of(archive)}
        return Raw(events, items, self.about.files[0].url, sha256, notes, tags=called)


def _table(content: zipfile.ZipFile, name: str) -> pl.DataFrame:
    """Read a tab-separated file with a header and without quoting; the tags are in Latin-1, the rest in UTF-8."""
    raw = content.read(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return pl.read_csv(io.StringIO(text), separator="\t", quote_char=None, infer_schema=False)
