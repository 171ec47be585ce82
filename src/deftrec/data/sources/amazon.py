"""Amazon reviews of the McAuley lab: three releases by category, with titles, categories, brands and descriptions.

Each release has a 5-core of every category, in which all users and items have at least five reviews, and the
unfiltered ratings. No checksums are published.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import polars as pl

from deftrec.data.download import checksums
from deftrec.data.ids import ID_RULE
from deftrec.data.prepare import Raw
from deftrec.data.sources.base import About, RemoteFile, Source
from deftrec.data.sources.columns import Place
from deftrec.data.sources.opening import open_text
from deftrec.data.sources.tabular import Columns, events_of, read_tabular
from deftrec.data.sources.textfile import TextFile
from deftrec.data.sources.texts import CATEGORY_SEPARATOR, words
from deftrec.data.sources.values import FOREIGN, as_text, shown, texts_in
from deftrec.errors import DataError

Core: TypeAlias = Literal["5-core", "raw"]

TEXT_LENGTH = 2000  # maximum number of characters of a description; the rest is cut
CATEGORIES = ("categories", "category", "main_category", "main_cat")
"""Fields of the categories; the first one with a value counts."""
LONGEST_RECORD = 1 << 20  # maximum number of characters of one product's record, far above the longest real one


_IN_ALL = (
    "Automotive Books CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics "
    "Grocery_and_Gourmet_Food Kindle_Store Musical_Instruments Office_Products Pet_Supplies Sports_and_Outdoors "
    "Tools_and_Home_Improvement Toys_and_Games"
)

DOMAINS = {
    "Books": "books",
    "Kindle_Store": "e-books",
    "Movies_and_TV": "movies and series",
    "CDs_and_Vinyl": "music albums",
    "Digital_Music": "music",
    "Apps_for_Android": "apps",
    "Software": "software",
    "Video_Games": "video games",
    "Magazine_Subscriptions": "magazines",
    "Gift_Cards": "gift cards",
}
"""Kinds of items whose name is not the category's with "products" behind it."""


REVIEW_COLUMNS = Columns("reviewerID", "asin", "unixReviewTime", "overall")


@dataclass(frozen=True)
class Release:
    """File addresses and field names of one release.

    Attributes:
        year: year of the release.
        size: number of reviews and categories, in words.
        citation, homepage: paper to cite, and page of the release.
        categories: names of all categories, as in the addresses, with spaces between.
        ratings, core, metadata: URLs of the unfiltered ratings, the 5-core and the products; `{}` is the category.
        ratings_header: columns of the ratings, which have no header line; empty if they have one.
        columns: field names of the reviews; the name of `item` is that of the product's id in the metadata too.
    """

    year: int
    size: str
    citation: str
    homepage: str
    categories: str
    ratings: str
    core: str
    metadata: str
    ratings_header: tuple[str, ...] = ()
    columns: Columns = REVIEW_COLUMNS


_SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
_LAB = "https://mcauleylab.ucsd.edu/public_datasets/data/"

RELEASES = {
    2014: Release(
        year=2014,
        size="142.8 million reviews, 24 categories",
        citation='McAuley, Targett, Shi and van den Hengel, "Image-based recommendations on styles and substitutes", '
        "SIGIR 2015",
        homepage="https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html",
        categories=f"{_IN_ALL} "
        "Amazon_Instant_Video Apps_for_Android Baby Beauty Health_and_Personal_Care Home_and_Kitchen "
        "Movies_and_TV Patio_Lawn_and_Garden Video_Games",
        ratings=_SNAP + "ratings_{}.csv",
        core=_SNAP + "reviews_{}_5.json.gz",
        metadata=_SNAP + "meta_{}.json.gz",
        ratings_header=("reviewerID", "asin", "overall", "unixReviewTime"),
    ),
    2018: Release(
        year=2018,
        size="233.1 million reviews, 29 categories",
        citation='Ni, Li and McAuley, "Justifying recommendations using distantly-labeled reviews and fine-grained '
        'aspects", EMNLP 2019',
        homepage="https://nijianmo.github.io/amazon/",
        categories=f"{_IN_ALL} "
        "AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Gift_Cards Home_and_Kitchen "
        "Industrial_and_Scientific Luxury_Beauty Magazine_Subscriptions Movies_and_TV "
        "Patio_Lawn_and_Garden Prime_Pantry Software Video_Games",
        ratings=_LAB + "amazon_v2/categoryFilesSmall/{}.csv",
        core=_LAB + "amazon_v2/categoryFilesSmall/{}_5.json.gz",
        metadata=_LAB + "amazon_v2/metaFiles2/meta_{}.json.gz",
        ratings_header=("asin", "reviewerID", "overall", "unixReviewTime"),  # the item first, unlike 2014
    ),
    2023: Release(
        year=2023,
        size="571.5 million reviews, 33 categories",
        citation='Hou et al., "Bridging language and items for retrieval and recommendation", arXiv:2403.03952, 2024',
        homepage="https://amazon-reviews-2023.github.io/",
        categories=f"{_IN_ALL} "
        "All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Baby_Products "
        "Beauty_and_Personal_Care Gift_Cards Handmade_Products Health_and_Household "
        "Health_and_Personal_Care Home_and_Kitchen Industrial_and_Scientific Magazine_Subscriptions "
        "Movies_and_TV Patio_Lawn_and_Garden Software Subscription_Boxes Unknown Video_Games",
        ratings=_LAB + "amazon_2023/benchmark/0core/rating_only/{}.csv.gz",
        core=_LAB + "amazon_2023/benchmark/5core/rating_only/{}.csv.gz",
        metadata=_LAB + "amazon_2023/raw/meta_categories/meta_{}.jsonl.gz",
        columns=Columns("user_id", "parent_asin", "timestamp", "rating"),
    ),
}


class Amazon(Source):
    """One category of one release: `amazon-2014/Beauty`, or the unfiltered `amazon-2014/Beauty/raw`."""

    def __init__(self, release: Release, category: str, core: Core = "5-core") -> None:
        self.release = release
        self.core = core
        url = release.core if core == "5-core" else release.ratings
        name = f"amazon-{release.year}/{category}" + ("" if core == "5-core" else "/raw")
        self.about = About(
            name=name,
            title=f"Amazon Reviews {release.year}, {category.replace('_', ' ')}, {core}",
            size=release.size,
            licence="none stated; published for research",
            citation=release.citation,
            homepage=release.homepage,
            domain=DOMAINS.get(category, category.replace("_", " ").lower() + " products"),
            files=(RemoteFile(url=url.format(category)), RemoteFile(url=release.metadata.format(category))),
        )

    def read(self, files: Mapping[str, Path]) -> Raw:
        """Read the reviews and the metadata of their items; see `Source.read`."""
        reviews, metadata = (files[file.name] for file in self.about.files)
        columns, header = self.release.columns, self.release.ratings_header
        if self.core == "raw" and header:
            file = TextFile(reviews, separator=",", header=list(header))
            frame = file.read()
            events = events_of(frame, file.place(frame), columns)
        else:
            events = read_tabular(reviews, columns, form="csv" if ".csv" in reviews.suffixes else "jsonl").events
        # An ASIN may look like an integer (the ISBN of a book), and a small category may hold no other.
        events = events.with_columns(pl.col("user", "item").cast(pl.String))
        items = read_products(metadata, columns.item, set(events["item"].unique().to_list()))
        sha256 = checksums(reviews, metadata)
        return Raw(events, items, self.about.files[0].url, sha256, {"published_core": self.core})


def read_products(path: Path, key: str, wanted: set[str]) -> pl.DataFrame:
    """Read title, categories, and brand with description of products: columns `item`, `title`, `category`, `text`.

    Raises a `DataError` if a line is no record, an id is neither text nor a number, a text is a record, or no wanted
    product is in the file.

    Args:
        path: file with one record per line, in JSON or, in the release of 2014, as a Python literal.
        key: field of the product id.
        wanted: ids of the products to read.
    """
    rows: dict[str, tuple[str, ...]] = {}
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}: line {number}"
            record = _parse(line, where) if line.strip() else {}
            product = _id(record, key, where)
            if product in wanted and product not in rows:
                # A list of paths in 2014, a list in 2018 and 2023.
                kind = next((name for name in CATEGORIES if record.get(name)), CATEGORIES[0])
                brand = "brand" if record.get("brand") else "store"
                texts = {name: _texts(record, name, where) for name in ("title", kind, brand, "description")}
                category = CATEGORY_SEPARATOR.join(dict.fromkeys(texts[kind]))
                text = ". ".join(filter(None, (" ".join(texts[name]) for name in (brand, "description"))))
                rows[product] = (product, " ".join(texts["title"]), category, text[:TEXT_LENGTH])
    if not rows:
        raise DataError(f"{path}: has no product of the reviews; check that both files are of one category")
    schema = dict.fromkeys(("item", "title", "category", "text"), pl.String)
    frame = pl.DataFrame(list(rows.values()), schema=schema, orient="row")
    return frame.with_columns(words(frame[name], Place(str(path))) for name in ("title", "category", "text"))


def _id(record: dict[str, Any], key: str, where: str) -> str:
    """The id of a product, or an empty text."""
    try:
        product = as_text(record.get(key)) or ""
    except TypeError:  # a value of a Python literal that JSON has not
        product = FOREIGN + repr(record[key])
    if product.startswith(FOREIGN):
        raise DataError(f"{where}, key {key!r}: {shown(product)} is not an id; {ID_RULE}; correct the value")
    return product


def _texts(record: dict[str, Any], name: str, where: str) -> list[str]:
    """All texts in a text or in nested lists."""
    try:
        return list(texts_in(record.get(name)))
    except TypeError as error:
        raise DataError(f"{where}, key {name!r}: a record where a text or a list is needed; correct it") from error


def _parse(line: str, where: str) -> dict[str, Any]:
    """Parse one record. `ast.literal_eval` builds constants only and runs no code of the line."""
    if len(line) > LONGEST_RECORD:
        raise DataError(f"{where}: is {len(line):,} characters long, too long for a product")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        try:
            record = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            message = f"{where}: neither JSON nor a Python literal; delete the file and fetch it again"
            raise DataError(message) from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a record with names; delete the file and fetch it again")
    return record
