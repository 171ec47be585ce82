"""What every origin of data says about itself, and does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from deftrec.data.download import Progress, default_home, download, sha256_of
from deftrec.data.prepare import Raw
from deftrec.errors import DownloadError
from deftrec.files import write_text

Say: TypeAlias = Callable[[str], None]
"""Told, in a sentence, what is happening and what the user should know."""


class RemoteFile(BaseModel):
    """A file on its publisher's host.

    Attributes:
        url: https.
        checksum: `md5:<hex>` or `sha256:<hex>` as the publisher gives it; `None` where none is published, and then the
            sha256 of the first download is recorded, and every later use is held to it.
        size: in bytes, where it is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    checksum: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name, the last part of its URL."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def place(self) -> Path:
        """Where the file lies in the cache: host, then path."""
        parts = urlsplit(self.url)
        return Path(parts.hostname or "", *parts.path.strip("/").split("/"))


class About(BaseModel):
    """What `deftrec data list` shows of a source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    size: str
    licence: str
    citation: str
    homepage: str
    domain: str
    files: tuple[RemoteFile, ...]


class Source(ABC):
    """A published data set: says what it is, fetches its files, reads them."""

    about: About

    @abstractmethod
    def read(self, files: Mapping[str, Path]) -> Raw:
        """Read the downloaded files, given by their names.

        Raises:
            DataError: a file is not what it should be.
        """

    def fetch(self, on_progress: Progress | None = None, say: Say = lambda _: None, home: Path | None = None) -> Raw:
        """Download what is not in the cache yet, check it, and read it.

        Args:
            on_progress: told of the bytes of the file that is being fetched.
            say: told which file that is, and what cannot be checked.
            home: the cache, `default_home()` unless said.

        Raises:
            DownloadError: a file cannot be fetched, or is not what its publisher says.
        """
        cache = (home or default_home()) / "downloads"  # laid out as the hosts are, so that sources share files
        files = {file.name: self._fetch_one(file, cache / file.place, on_progress, say) for file in self.about.files}
        return self.read(files)

    def _fetch_one(self, file: RemoteFile, to: Path, on_progress: Progress | None, say: Say) -> Path:
        recorded = to.with_name(to.name + ".sha256")
        checksum = file.checksum
        if checksum is None and to.is_file() and recorded.is_file():
            checksum = "sha256:" + recorded.read_text(encoding="utf-8").strip()
            if "sha256:" + sha256_of(to) != checksum:
                raise DownloadError(f"{to}: has changed since it was downloaded; delete it, and fetch again")
        if not to.is_file():
            say(f"fetching {file.url}")
        download(file.url, to, checksum=checksum, on_progress=on_progress)
        if checksum is None:
            digest = sha256_of(to)
            write_text(recorded, digest + "\n")
            say(f"{file.name}: its publisher gives no checksum; recorded sha256 {digest}")
        return to
