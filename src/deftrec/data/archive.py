"""Zip files from elsewhere, unpacked so that nothing lands outside of the directory named."""

import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deftrec.errors import DownloadError

CHUNK = 1 << 20
LARGEST = 8 << 30


@dataclass(frozen=True)
class _Member:
    info: zipfile.ZipInfo
    path: Path


def unpack(archive: str | Path, to: Path, largest: int = LARGEST) -> None:
    """Unpack a zip file or wheel into the existing directory `to`, and nowhere else.

    Raises:
        DownloadError: a member would land outside, is a link, or there is more than `largest` bytes to unpack.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [_Member(info, _inside(info, to, Path(archive).name)) for info in content.infolist()]
            if sum(member.info.file_size for member in members) > largest:
                raise DownloadError(f"{archive}: unpacks to more than {largest:,} bytes")
            for member in members:
                if member.info.is_dir():
                    member.path.mkdir(parents=True, exist_ok=True)
                    continue
                member.path.parent.mkdir(parents=True, exist_ok=True)
                with content.open(member.info) as source, member.path.open("xb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except (zipfile.BadZipFile, FileExistsError, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{archive}: not a whole zip file ({error})") from error


def _inside(info: zipfile.ZipInfo, to: Path, archive: str) -> Path:
    parts = info.filename.replace("\\", "/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    unsafe = info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in info.filename
    if unsafe or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadError(f"{archive}: member {info.filename!r} would land outside of its directory")
    return to.joinpath(*(part for part in parts if part not in ("", ".")))
