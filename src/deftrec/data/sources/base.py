"""The base classes of published data sets: description, download, reading."""

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import polars as pl
from pydantic import BaseModel

from deftrec.data.download import Progress, checksums, default_home, download, sha256_of
from deftrec.data.prepare import Raw
from deftrec.errors import DataError, DownloadError, first_line
from deftrec.files import write_text

Say: TypeAlias = Callable[[str], None]  # callback with a message for the user


class RemoteFile(BaseModel, frozen=True, extra="forbid"):
    """A file on its publisher's host.

    Attributes:
        url: https address.
        checksum: `md5:<hex>` or `sha256:<hex>`, or `None`: the SHA-256 of the first download is checked from then on.
    """

    url: str
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The file name: the last part of the URL."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def place(self) -> Path:
        """The path within the cache: host, then path of the URL."""
        parts = urlsplit(self.url)
        return Path(parts.hostname or "", *parts.path.strip("/").split("/"))


class About(BaseModel, frozen=True, extra="forbid"):
    """Description of a published data set.

    Attributes:
        name, title: name for `deftrec data fetch`, and full name.
        size: numbers of interactions, users and items, and size of the download, in words.
        licence, citation, homepage: terms of use, paper to cite, and page of the publisher.
        domain: kind of the items in a word or two, for prompts.
        files: files to download.
    """

    name: str
    title: str
    size: str
    licence: str
    citation: str
    homepage: str
    domain: str
    files: tuple[RemoteFile, ...]


class Source(ABC):
    """A published data set: its description, download and reader."""

    about: About

    @abstractmethod
    def read(self, files: Mapping[str, Path]) -> Raw:
        """Read the downloaded files, given by name; a `DataError` if one is malformed or another file."""

    def fetch(self, on_progress: Progress | None = None, say: Say = lambda _: None, home: Path | None = None) -> Raw:
        """Download the files that are not in the cache `home` yet, check all of them, and read them.

        Raises a `DownloadError` if a file cannot be downloaded, or its checksum is wrong.
        """
        cache = (home or default_home()) / "downloads"
        files = {file.name: self._fetch_one(file, cache / file.place, on_progress, say) for file in self.about.files}
        return self.read(files)

    def _fetch_one(self, file: RemoteFile, to: Path, on_progress: Progress | None, say: Say) -> Path:
        recorded = to.with_name(to.name + ".sha256")
        if not to.is_file():
            say(f"downloading {file.url}")
        elif file.checksum is None and recorded.is_file():
            if sha256_of(to) != recorded.read_text(encoding="utf-8").strip():
                raise DownloadError(f"{to}: has changed since it was downloaded; delete it and fetch again")
            return to
        download(file.url, to, checksum=file.checksum, on_progress=on_progress)
        if file.checksum is None:
            digest = sha256_of(to)
            write_text(recorded, digest + "\n")
            say(f"{file.name}: no checksum is published; recorded sha256 {digest}")
        return to


class Archive(Source):
    """A published data set in one zip file."""

    def read(self, files: Mapping[str, Path]) -> Raw:
        """Read the archive; see `Source.read`."""
        (archive,) = files.values()
        try:
            with zipfile.ZipFile(archive) as content:
                return replace(self.parse(content), sha256=checksums(archive))
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError, pl.exceptions.PolarsError) as error:
            what = f"not the archive of {self.about.name} ({first_line(error)})"
            raise DataError(f"{archive}: {what}; delete it and fetch it again") from error

    @abstractmethod
    def parse(self, content: zipfile.ZipFile) -> Raw:
        """Read the files in the archive."""
