"""Last.fm from HetRec 2011: tags that users gave to artists, with their times.

I. Cantador, P. Brusilovsky and T. Kuflik, "2nd Workshop on Information Heterogeneity and Fusion in Recommender
Systems", RecSys 2011.
"""

import zipfile

import polars as pl

from deftrec.data.prepare import Raw
from deftrec.data.sources.base import About, Archive, RemoteFile

EARLIEST = 1_009_843_200_000
"""2002-01-01 in milliseconds, the year Last.fm was founded. A few tags in the file are dated decades earlier."""


class LastFM(Archive):
    """Last.fm 2K. An interaction is a user's first tag of an artist; the archive's listening counts have no times.

    The tags are the artists' categories. A user's tags of the last two artists, the leave-one-out targets, are left
    out: they belong to the interactions to predict. With the temporal split, some tags can be later than a target.
    """

    about = About(
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

    def parse(self, content: zipfile.ZipFile) -> Raw:
        """Read the tags with their times; `prepare` turns them into categories. See `Archive.parse`."""
        tagged = _table(content, "user_taggedartists-timestamps.dat").select(
            pl.col("userID").cast(pl.Int64).alias("user"),
            pl.col("artistID").cast(pl.Int64).alias("item"),
            pl.col("timestamp").cast(pl.Int64).alias("time"),
            "tagID",
        )
        artists = _table(content, "artists.dat").select(pl.col("id").cast(pl.Int64).alias("item"), title="name")
        tags = tagged.join(_table(content, "tags.dat"), on="tagID").select("user", "item", tag="tagValue")
        possible = tagged.filter(pl.col("time") >= EARLIEST)
        events = possible.group_by("user", "item").agg(pl.col("time").min()).sort("user", "item")
        notes = {
            "first_tag_per_user_and_artist": True,
            "tags_before_2002_dropped": tagged.height - possible.height,
            "categories_without_tags_of_last_two_artists": True,
        }
        return Raw(events, artists, self.about.files[0].url, notes=notes, tags=tags)


def _table(content: zipfile.ZipFile, name: str) -> pl.DataFrame:
    """Read a tab-separated file with a header and without quoting; the tags are in Latin-1, the rest in UTF-8."""
    raw = content.read(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return pl.read_csv(text.encode(), separator="\t", quote_char=None, infer_schema=False)
