"""Safe unpacking of zip files from elsewhere: no file is written outside the target directory."""

import shutil
import stat
import zipfile
from pathlib import Path

from deftrec.errors import DownloadError

CHUNK = 1 << 20
LARGEST = 8 << 30


def unpack(archive: str | Path, to: Path, largest: int = LARGEST) -> None:
    """Unpack a zip file or wheel into the existing directory `to`.

    Unlike `zipfile.ZipFile.extractall`, this refuses an unsafe member instead of renaming it, and bounds the size.

    Args:
        archive: the zip file.
        to: the directory to unpack into.
        largest: maximum number of bytes of all unpacked files together.

    Raises:
        DownloadError: a member is a link or would be written outside `to`, the content is too large, or the file is
            not a complete zip file.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [(info, _target(info, to, Path(archive).name)) for info in content.infolist()]
            if sum(info.file_size for info, _ in members) > largest:
                raise DownloadError(f"{archive}: unpacks to more than {largest:,} bytes")
            for info, path in members:
                if info.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with content.open(info) as source, path.open("xb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except (zipfile.BadZipFile, FileExistsError, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{archive}: not a whole zip file ({error}); delete it and download it again") from error


def _target(info: zipfile.ZipInfo, to: Path, archive: str) -> Path:
    """The path that a member is unpacked to."""
    parts = info.filename.replace("\\", "/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    unsafe = info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in info.filename
    if unsafe or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadError(f"{archive}: member {info.filename!r} would be written outside the target directory")
    return to.joinpath(*(part for part in parts if part not in ("", ".")))
