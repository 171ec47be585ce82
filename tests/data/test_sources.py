"""Every origin, on small files in its own layout."""

import gzip
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from flaky_server import Served

from deftrec.data.download import UnreachableError, sha256_of
from deftrec.data.prepare import Raw, prepare
from deftrec.data.sources import base, movielens
from deftrec.data.sources.amazon import RELEASES, Amazon
from deftrec.data.sources.base import About, RemoteFile
from deftrec.data.sources.lastfm import LastFM
from deftrec.data.sources.movielens import MovieLens1M, MovieLens32M, MovieLens100K, MovieLensLatestSmall
from deftrec.data.sources.recbole import read_recbole
from deftrec.data.sources.reference import read_reference
from deftrec.data.sources.registry import source_named, sources
from deftrec.errors import DataError, DownloadError

U_DATA = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t302\t4\t881250950\n196\t267\t1\t881250951\n"
U_GENRE = "unknown|0\nAction|1\nChildren's|2\nFilm-Noir|3\n\n"
U_ITEM = (
    "242|Misérables, Les (1995)|01-Jan-1995||http://x|0|1|0|1\n"
    "267|unknown||||1|0|0|0\n"
    "302|Land Before Time III: The Time (1995) (V)|01-Jan-1995||http://y|0|0|1|0\n"
)
RECBOLE_INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA
RECBOLE_ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "242\tMisérables, Les\t1995\tAction Film-Noir\n"
    "267\tunkonwn\tunkonwn\tunknown\n"
    "302\tLand Before Time III: The Time (1995)\tV\tChildren's\n"
)


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def ml_100k(tmp_path: Path) -> Raw:
    files: dict[str, str | bytes] = {
        "ml-100k/u.data": U_DATA,
        "ml-100k/u.genre": U_GENRE,
        "ml-100k/u.item": U_ITEM.encode("latin-1"),
    }
    archive = zipped(tmp_path / "ml-100k.zip", files)
    return MovieLens100K().read({archive.name: archive})


def recbole_wheel(tmp_path: Path) -> Path:
    folder = tmp_path / "wheel" / "recbole" / "dataset_example" / "ml-100k"
    folder.mkdir(parents=True)
    (folder / "ml-100k.inter").write_text(RECBOLE_INTER)
    (folder / "ml-100k.item").write_text(RECBOLE_ITEM)
    return tmp_path / "wheel"


def test_both_ways_to_ml_100k_give_the_same(tmp_path: Path) -> None:
    official, substitute = ml_100k(tmp_path), MovieLens100K().read_recbole(recbole_wheel(tmp_path))
    columns = ["user", "item", "time", "value"]
    assert official.events.select(columns).rows() == substitute.events.select(columns).rows()
    assert official.items is not None
    assert substitute.items is not None
    assert official.items.rows() == substitute.items.rows()
    assert official.items.rows() == [
        (242, "Misérables, Les (1995)", "Action|Film-Noir"),
        (267, "unknown", "unknown"),
        (302, "Land Before Time III: The Time (1995) (V)", "Children's"),
    ]
    left, right = (prepare(raw, name="ml-100k") for raw in (official, substitute))
    assert left.fingerprint == right.fingerprint


def test_ml_100k_comes_from_the_wheel_where_its_host_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str, *_: object, **__: object) -> Path:
        raise UnreachableError(f"{url}: no network")

    wheel = recbole_wheel(tmp_path)
    monkeypatch.setattr(base, "download", unreachable)
    monkeypatch.setattr(movielens, "fetch_from_wheel", lambda *_: wheel)
    said: list[str] = []
    raw = MovieLens100K().fetch(say=said.append, home=tmp_path)
    assert raw.events.height == 4
    assert raw.source == "recbole==1.2.1 wheel"
    assert raw.sha256["recbole==1.2.1 wheel"] == movielens.RECBOLE_SHA256
    assert "no network" in said[-1]
    assert "wheel instead" in said[-1]
    with pytest.raises(DownloadError, match="no network"):
        MovieLens1M().fetch(home=tmp_path)


def test_ml_1m(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "ml-1m/ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "ml-1m/movies.dat": "661::Face: Off, Les Misérables (1997)::Action|Drama\n1193::Cuckoo (1975)::Drama\n".encode(
            "latin-1"
        ),
    }
    archive = zipped(tmp_path / "ml-1m.zip", files)
    raw = MovieLens1M().read({archive.name: archive})
    assert raw.events.select("user", "item", "time", "value").rows() == [
        (1, 1193, 978300760, 5.0),
        (2, 661, 978302109, 3.0),
    ]
    assert raw.items is not None
    assert raw.items.rows()[0] == (661, "Face: Off, Les Misérables (1997)", "Action|Drama")
    assert raw.sha256 == {"ml-1m.zip": sha256_of(archive)}


@pytest.mark.parametrize("source", [MovieLensLatestSmall(), MovieLens32M()])
def test_releases_with_headers(source: MovieLensLatestSmall, tmp_path: Path) -> None:
    folder = source.about.name
    files: dict[str, str | bytes] = {
        f"{folder}/ratings.csv": "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,7,4.0,1260759179\n",
        f"{folder}/movies.csv": 'movieId,title,genres\n31,"Miserables, Les",Drama\n7,Sabrina,(no genres listed)\n',
    }
    archive = zipped(tmp_path / f"{folder}.zip", files)
    raw = source.read({archive.name: archive})
    assert raw.events.select("user", "item", "time", "value").rows()[0] == (1, 31, 1260759144, 2.5)
    assert raw.items is not None
    assert raw.items.rows() == [(31, "Miserables, Les", "Drama"), (7, "Sabrina", "")]


@pytest.mark.parametrize("content", [b"no zip at all", None])
def test_a_wrong_archive_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ml-1m.zip"
    if content is None:
        zipped(path, {"other.txt": "x"})
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"ml-1m\.zip: not the archive of ml-1m"):
        MovieLens1M().read({path.name: path})


def test_last_fm_takes_the_first_possible_tag_of_each_artist(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "artists.dat": 'id\tname\turl\tpictureURL\n52\tBjörk "live"\thttp://a\thttp://b\n63\tEnigma\t\t\n',
        "tags.dat": "tagID\ttagValue\n1\tchillout\n2\tcafé\n".encode("latin-1"),
        "user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n"
        "2\t52\t1\t1238536800000\n2\t52\t2\t1235858400000\n2\t63\t1\t-428720400000\n3\t52\t1\t1241128800000\n",
    }
    archive = zipped(tmp_path / "lastfm.zip", files)
    raw = LastFM().read({archive.name: archive})
    assert raw.events.rows() == [(2, 52, 1235858400000), (3, 52, 1241128800000)]
    assert raw.items is not None
    assert raw.items.rows() == [(52, 'Björk "live"'), (63, "Enigma")]
    assert raw.notes["tags_before_2002_dropped"] == 1
    catalogue = prepare(raw, name="lastfm").catalogue
    assert catalogue.select("item", "category").rows() == [(52, "chillout|café")]


@pytest.mark.parametrize("k_core", [None, 2])
def test_last_fm_tells_nobodys_last_artists(k_core: int | None, tmp_path: Path) -> None:
    """Two users tag a, b, c and d, each artist with the user's own word; then the first tags e and f in one month."""
    taken = [(user, artist, artist) for user in (1, 2) for artist in (1, 2, 3, 4)] + [(1, 5, 5), (1, 6, 5)]
    rows = "".join(f"{user}\t{artist}\t{10 * user + artist}\t{1238536800000 + at}\n" for user, artist, at in taken)
    tags = {10 * user + artist: f"{'abcdef'[artist - 1]}{user}" for user, artist, _ in taken}
    files: dict[str, str | bytes] = {
        "artists.dat": "id\tname\n" + "".join(f"{n}\tartist {n}\n" for n in range(1, 7)),
        "tags.dat": "tagID\ttagValue\n" + "".join(f"{number}\t{tag}\n" for number, tag in tags.items()),
        "user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n" + rows,
    }
    archive = zipped(tmp_path / "lastfm.zip", files)
    for tie_seed in range(4):
        data = prepare(LastFM().read({archive.name: archive}), name="lastfm", k_core=k_core, tie_seed=tie_seed)
        words = dict(data.catalogue.select("item", "category").iter_rows())
        for user in (1, 2):
            history = data.history(user)
            for place, artist in enumerate(history):
                word = f"{'abcdef'[int(artist) - 1]}{user}"
                assert (word in words[artist].split("|")) == (place < len(history) - 2)


META_2014 = (
    "{'asin': '0001', 'title': 'Book \"one\" &amp; two', 'brand': 'Acme', 'description': 'Long.', "
    "'categories': [['Beauty', 'Hair'], ['Beauty', 'Nails']], 'price': 5.0}\n"
    "{'asin': 'B2', 'categories': [['Beauty']]}\n{'asin': 'unused', 'title': 'x'}\n"
)
META_2018 = (
    json.dumps({"asin": "0001", "title": 'Book "one" &amp; two', "brand": "Acme", "description": ["Long."],
                "category": ["Beauty", "Hair", "Nails"]})
    + "\n" + json.dumps({"asin": "B2", "category": ["Beauty"], "title": None}) + "\n"
)  # fmt: skip
META_2023 = (
    json.dumps({"parent_asin": "0001", "title": 'Book "one" &amp; two', "store": "Acme", "description": ["Long."],
                "categories": ["Beauty", "Hair", "Nails"], "main_category": "All Beauty"})
    + "\n" + json.dumps({"parent_asin": "B2", "main_category": "Beauty", "categories": []}) + "\n"
)  # fmt: skip
REVIEWS = "".join(
    json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time, "reviewText": "ok"}) + "\n"
    for user, item, time in [("A1", "0001", 10), ("A1", "B2", 20), ("A2", "B2", 30)]
)
RATINGS_2014 = "A1,0001,5.0,10\nA1,B2,5.0,20\nA2,B2,5.0,30\n"
RATINGS_2018 = "0001,A1,5.0,10\nB2,A1,5.0,20\nB2,A2,5.0,30\n"
RATINGS_2023 = "user_id,parent_asin,rating,timestamp\n" + RATINGS_2014


@pytest.mark.parametrize(
    ("year", "core", "reviews", "metadata"),
    [
        (2014, "5-core", REVIEWS, META_2014),
        (2014, "raw", RATINGS_2014, META_2014),
        (2018, "5-core", REVIEWS, META_2018),
        (2018, "raw", RATINGS_2018, META_2018),
        (2023, "5-core", RATINGS_2023, META_2023),
        (2023, "raw", RATINGS_2023, META_2023),
    ],
)
def test_every_amazon_release_reads_alike(year: int, core: str, reviews: str, metadata: str, tmp_path: Path) -> None:
    source = Amazon(RELEASES[year], "Software", core)  # type: ignore[arg-type]
    files = {}
    for file, text in zip(source.about.files, (reviews, metadata), strict=True):
        path = tmp_path / file.name
        path.write_bytes(gzip.compress(text.encode()) if file.name.endswith(".gz") else text.encode())
        files[file.name] = path
    raw = source.read(files)
    assert raw.events.select("user", "item", "time", "value").rows() == [
        ("A1", "0001", 10, 5.0),
        ("A1", "B2", 20, 5.0),
        ("A2", "B2", 30, 5.0),
    ]
    assert raw.items is not None
    assert raw.items.sort("item").rows() == [
        ("0001", 'Book "one" & two', "Beauty|Hair|Nails", "Acme. Long."),
        ("B2", "", "Beauty", ""),
    ]
    assert source.about.domain == "software"
    assert set(raw.sha256) == set(files)


def test_amazon_metadata_never_runs(tmp_path: Path) -> None:
    source = Amazon(RELEASES[2014], "Beauty", "raw")
    ratings, metadata = (tmp_path / file.name for file in source.about.files)
    ratings.write_text(RATINGS_2014)
    trap = tmp_path / "trap"
    metadata.write_bytes(gzip.compress(f"{{'asin': '0001', 'title': open({str(trap)!r}, 'w')}}\n".encode()))
    with pytest.raises(DataError, match=r"meta_Beauty\.json\.gz: line 1: neither JSON nor a Python literal"):
        source.read({ratings.name: ratings, metadata.name: metadata})
    assert not trap.exists()


def products(tmp_path: Path, *lines: str) -> Raw:
    """Read metadata of 2014 with these lines."""
    source = Amazon(RELEASES[2014], "Beauty", "raw")
    ratings, metadata = (tmp_path / file.name for file in source.about.files)
    ratings.write_text(RATINGS_2014)
    metadata.write_bytes(gzip.compress(b"\xef\xbb\xbf" + "".join(f"{line}\n" for line in lines).encode()))
    return source.read({ratings.name: ratings, metadata.name: metadata})


def test_amazon_texts_are_what_they_mean(tmp_path: Path) -> None:
    first = '{"asin": "0001", "title": ["Book", "one"], "brand": 3, "categories": [], "category": ["a", ["b", 1]]}'
    second = '{"asin": "B2", "title": "a\\ud83d!", "description": ["b", null], "price": NaN}'
    raw = products(tmp_path, first, second)
    assert raw.items is not None
    assert raw.items.rows() == [("0001", "Book one", "a|b|1", "3"), ("B2", "a\ufffd!", "", "b")]
    pair = products(tmp_path, "{'asin': 'B2', 'title': '\\ud83d\\ude00'}")
    assert pair.items is not None
    assert pair.items["title"].to_list() == ["😀"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"asin": true, "title": "x"}', "key 'asin': true is not an id"),
        ('{"asin": ["B2"]}', r"key 'asin': \[\"B2\"\] is not an id"),
        ('{"asin": {"id": 1}}', r"key 'asin': \{\"id\": 1\} is not an id"),
        ('{"asin": "B\\ud83d"}', r"key 'asin': \"B\\ud83d\" is not an id"),
        ("{'asin': b'B2'}", "key 'asin': b'B2' is not an id"),
        ('{"asin": "B2", "title": {"en": "x"}}', "key 'title': a record where a text or a list is needed"),
        ('{"asin": "B2", "category": [{"name": "x"}]}', "key 'category': a record where"),
        ('{"asin": "B2", "description": [[{}]]}', "key 'description': a record where"),
        ('{"asin": "B2", "brand": {"name": "x"}}', "key 'brand': a record where"),
    ],
)
def test_amazon_values_of_other_kinds_are_named(line: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"meta_Beauty\.json\.gz: line 2, {fault}"):
        products(tmp_path, '{"asin": "0001", "details": {"a": 1}}', line)


# -- RecBole's files -------------------------------------------------------------------------------------------------


def test_recbole_without_times_needs_to_be_told(tmp_path: Path) -> None:
    inter = tmp_path / "x.inter"
    inter.write_text("user_id:token\titem_id:token\nb\t2\na\t1\nb\t1\n")
    with pytest.raises(DataError, match=r"no column 'timestamp'.*--time COL, or .*--order-as-given"):
        read_recbole(inter)
    raw = read_recbole(tmp_path, as_given=True)
    assert prepare(raw, name="x").history("b") == [2, 1]
    assert raw.times == "position"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id\titem_id:token\ttimestamp:float\n1\t2\t3\n", "line 1: 'user_id' is not of the form name:type"),
        ("user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\n1\t2\tx\n", "line 3, column 'timestamp': 'x' is not"),
        ("user_id:token\titem_id:token\ttimestamp:float\n1\t2\t3\t4\n", "line 2: 4 fields where there are 3"),
    ],
)
def test_recbole_errors(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text(text)
    with pytest.raises(DataError, match=message):
        read_recbole(tmp_path)


def test_recbole_needs_one_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"exactly one \.inter file, and has none"):
        read_recbole(tmp_path)


# -- registry and cache ----------------------------------------------------------------------------------------------


def test_every_source_says_what_it_is() -> None:
    known = [source.about for source in sources()]
    names = [about.name for about in known]
    assert len(set(names)) == len(names)
    assert {
        "ml-100k",
        "ml-1m",
        "ml-latest-small",
        "ml-32m",
        "lastfm-2k",
        "lastfm",
        "ml1m",
        "amazon-2014/Beauty",
    } <= set(names)
    assert len([name for name in names if name.startswith("amazon-2014/") and not name.endswith("/raw")]) == 24
    for about in known:
        assert all((about.title, about.size, about.licence, about.citation, about.domain))
        assert about.homepage.startswith("https://")
        assert all(file.url.startswith("https://") and "{" not in file.url for file in about.files)


def test_the_authors_data_are_what_their_copies_import_as(tmp_path: Path) -> None:
    folder = tmp_path / "lastfm"
    folder.mkdir()
    (folder / "train.txt").write_text("0 0 1\n1 1 2\n")
    (folder / "test.txt").write_text("0 0 1 2\n1 1 2 0\n")
    (folder / "item_list.txt").write_text('org_id remap_id title\n9 0 "A B"\n8 1 C\n7 2 D\n')
    (folder / "user_list.txt").write_text("org_id remap_id\nx 0\ny 1\n")
    source = source_named("lastfm")
    files = {file.name: folder / file.name for file in source.about.files}
    assert all(file.is_file() for file in files.values())
    assert {str(file.checksum)[:7] for file in source.about.files} == {"sha256:"}
    assert len({file.place.parent for file in source.about.files}) == 1, "`read` takes them for one directory"
    fetched, imported = source.read(files), read_reference(folder)
    assert fetched.events.equals(imported.events)
    assert (fetched.source, fetched.sha256) == ("reference:lastfm", imported.sha256)


def test_names_are_found_and_guessed() -> None:
    assert source_named("ML-100K").about.name == "ml-100k"
    assert source_named("amazon-2018/software/5-core").about.name == "amazon-2018/Software"
    with pytest.raises(DataError, match="did you mean ml-100k"):
        source_named("ml100k")
    assert len(list(sources())) == 5 + 4 + 2 * (24 + 29 + 34)


class _Local(base.Source):
    def __init__(self, url: str, checksum: str | None) -> None:
        file = RemoteFile(url=url, checksum=checksum)
        self.about = About(
            name="local", title="t", size="s", licence="l", citation="c", homepage="h", domain="d", files=(file,)
        )

    def read(self, files: object) -> Raw:
        return Raw(pl.DataFrame({"user": [1], "item": [1], "time": [1]}), None, "local")


def test_without_a_published_checksum_the_first_download_is_recorded(served: Served, tmp_path: Path) -> None:
    served.body = b"data"
    said: list[str] = []
    source = _Local(served.url, None)
    source.fetch(say=said.append, home=tmp_path)
    assert any("recorded sha256 " + served.sha256.removeprefix("sha256:") in line for line in said)
    source.fetch(home=tmp_path)
    assert len(served.ranges) == 1
    (tmp_path / "downloads" / "127.0.0.1" / "file.bin").write_bytes(b"tampered")
    with pytest.raises(DownloadError, match="has changed since"):
        source.fetch(home=tmp_path)


def test_with_a_published_checksum_the_cache_is_checked(served: Served, tmp_path: Path) -> None:
    served.body = b"data"
    source = _Local(served.url, served.sha256)
    source.fetch(home=tmp_path)
    (tmp_path / "downloads" / "127.0.0.1" / "file.bin").write_bytes(b"tampered")
    source.fetch(home=tmp_path)
    assert (tmp_path / "downloads" / "127.0.0.1" / "file.bin").read_bytes() == b"data"
