"""Files as people have them: plain, gzip, bzip2, xz, zstd, or one member of a zip file; in UTF-8, UTF-16 or UTF-32."""

import bz2
import codecs
import gzip
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from deftrec.errors import DataError, MissingExtraError, first_line
from deftrec.files import printable

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\3\4": "zip", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of packed files."""

FOREIGN_FORMATS = (
    (0, b"PAR1", "a Parquet file; let its name end in .parquet, or say its format"),
    (0, b"\xd0\xcf\x11\xe0", "an Excel workbook; save its sheet as CSV in UTF-8"),
    (0, b"SQLite format 3", "an SQLite database; export its table as CSV"),
    (0, b"%PDF", "a PDF file; export its table as CSV"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
)
"""Place and first bytes of files that hold no text, and what to do with them."""

WORKBOOK = "[Content_Types].xml"  # member of an Excel workbook, which is a zip file

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
NATIVE = {("gzip",), ("zstd",)}  # unpacked by polars itself, in a stream
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
UTF_8 = "utf-8"
NESTED = 3  # greatest number of packings around one another
CHUNK = 1 << 22


class Opened(NamedTuple):
    """A file that is open for reading.

    Attributes:
        content: unpacked content.
        packings: packings around it, outermost first.
        encoding: encoding of a text, by its byte order mark; UTF-8 without one.
    """

    content: BufferedReader
    packings: tuple[str, ...]
    encoding: str


def is_there(path: Path) -> bool:
    """Whether `path` is a file, or is written like a member of a zip file, such as `shop.zip/events.csv`."""
    return on_disk(path).is_file()


def absent(path: Path) -> str:
    """Why a path is no file that can be read."""
    if path.exists() and not path.is_dir():
        return "a device or pipe, which can be read once only; write its content to a file first"
    if str(path) == "-":
        return "standard input is not read; write it to a file first"
    if re.match("[a-z0-9]+:/", str(path)):
        return "no such file; download it first"
    return "no such file or directory"


def on_disk(path: Path) -> Path:
    """The file that holds `path`: itself, or the zip file of a member."""
    return _archive(path)[0]


def unpacked_name(path: Path) -> Path:
    """The name of the content of a file, without suffixes of packing; for a zip file with one member, that one's."""
    if path.suffix.lower() == ".zip" and path.is_file():
        with _failing(path), zipfile.ZipFile(path) as archive:
            path = Path(_member(path, archive, None))
    while path.suffix.lower() in PACKED_SUFFIXES:
        path = path.with_suffix("")
    return path


def is_pattern(path: Path) -> bool:
    """Whether a path has characters that stand for others in a pattern of names."""
    return any(character in str(path) for character in "*?[")


def _is_utf8(path: Path) -> bool:
    return printable(str(path)) == str(path)


def is_hidden(path: Path) -> bool:
    """Whether a part of a relative path is hidden, or made by a program for itself: `.git`, `_SUCCESS`, `__MACOSX`."""
    return any(part.startswith((".", "_")) for part in path.parts)


@contextmanager
def open_bytes(path: Path) -> Iterator[Opened]:
    """Open a file and unpack it, whatever its name is.

    Raises a `DataError` if the file is missing or damaged, here or while the block reads it, or is a zip file with
    several members and `path` names none.
    """
    file, member = _archive(path)
    if not file.is_file():
        raise DataError(f"{path}: {absent(file)}")
    with _failing(path), ExitStack() as stack:
        content, packings = stack.enter_context(file.open("rb")), list[str]()
        while len(packings) < NESTED and (packing := _packing(content)) is not None:
            packings.append(packing)
            opened = stack.enter_context(_unpack(content, packing, path, member))
            content, member = stack.enter_context(BufferedReader(opened)), None
        if member is not None:
            raise DataError(f"{path}: {file} is no zip file, so it has no members; name the file itself")
        begin = content.peek(4)[:4]
        encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if begin.startswith(mark)), UTF_8)
        yield Opened(content, tuple(packings), encoding)


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text file, packed or not, in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises a `DataError` if the file is missing, cannot be read or has another encoding, here or while the block reads.
    """
    with open_bytes(path) as opened:
        begin = opened.content.peek(512)[:512]
        for place, magic, what in FOREIGN_FORMATS:
            if begin[place:].startswith(magic):
                raise DataError(f"{path}: is {what}")
        if opened.encoding == UTF_8 and b"\0" in opened.content.peek(4)[:4]:
            raise DataError(f"{path}: not UTF-8 (it seems UTF-16 without a byte order mark); {_convert('utf-16le')}")
        try:
            yield TextIOWrapper(opened.content, encoding=opened.encoding, newline="")
        except UnicodeError as error:
            name = opened.encoding.removesuffix("-sig").upper()
            reason = error.reason if isinstance(error, UnicodeDecodeError) else error
            mend = f"if it is Latin-1, {_convert('latin1')}; for another encoding write its name there"
            if name != "UTF-8":
                mend = "it is damaged, or not complete: write or copy it again"
            elif any(byte < 9 for byte in begin):
                mend = "it seems to hold no text: save it as CSV, or unpack it"
            raise DataError(f"{path}: not {name} ({reason}); {mend}") from error


def for_polars(path: Path, *, text: bool = True) -> Path | bytes:
    """The file as polars can read it: its path, or its content in memory if polars cannot unpack, decode or name it."""
    with open_bytes(path) as opened:
        packings = opened.packings[1:] if text and opened.packings[:1] in NATIVE else opened.packings
        if not packings and (not text or opened.encoding == UTF_8) and not is_pattern(path) and _is_utf8(path):
            return path
        return text_in_memory(path) if text else opened.content.read()


def text_in_memory(path: Path) -> bytes:
    """The content of a text file in UTF-8, without a byte order mark; errors are those of `open_text`."""
    with open_text(path) as lines:
        return b"".join(part.encode() for part in iter(lambda: lines.read(CHUNK), ""))


def _convert(encoding: str) -> str:
    return f"convert it with 'iconv -f {encoding} -t utf-8'"


def _archive(path: Path) -> tuple[Path, str | None]:
    """The file that holds `path`: itself, or a file above it, which is named like a directory; and the rest."""
    if not path.exists():
        for above in path.parents:
            if above.is_file():
                return above, path.relative_to(above).as_posix()
    return path, None


def _packing(content: Any) -> str | None:
    begin = content.peek(10)[:10]
    packing = next((name for mark, name in MAGIC.items() if begin.startswith(mark)), None)
    return None if packing == "bzip2" and begin[4:] != b"1AY&SY" else packing


def _unpack(content: Any, packing: str, path: Path, member: str | None) -> Any:
    if packing == "zip":
        archive = zipfile.ZipFile(content)
        name = _member(path, archive, member)
        try:
            return archive.open(name)
        except (RuntimeError, NotImplementedError) as error:  # a password, or a method of another program
            raise DataError(f"{path}: {name} cannot be unpacked ({first_line(error)}); unpack it yourself") from error
    if packing == "zstd":
        try:
            zstandard: Any = import_module("zstandard")
        except ImportError as error:
            raise MissingExtraError("zstandard", "zstd", f"{path}: reading a file packed by zstd") from error
        return zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True)
    openers: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return openers[packing](content)


def _member(path: Path, archive: zipfile.ZipFile, member: str | None) -> str:
    """The name of the member that is meant; without one, of the only one."""
    names = [one.filename for one in archive.infolist() if not one.is_dir() and not is_hidden(Path(one.filename))]
    if member is None and len(names) == 1:
        return names[0]
    if member is None or member not in names:
        listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        if not names:
            raise DataError(f"{path}: is a zip file without files; give another one")
        if WORKBOOK in names:
            raise DataError(f"{path}: is an Excel workbook; save its sheet as CSV in UTF-8")
        what = f"holds {len(names)} files" if member is None else f"has no member {member}"
        example = f"{on_disk(path)}/{names[0]}"
        raise DataError(f"{path}: {what} ({listed}); name one, such as {example}")
    return member


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    """Turn errors of reading and unpacking into a `DataError` that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path}: cannot be read ({os.strerror(error.errno).lower()})") from error
        mend = "it is damaged, or not complete: copy it again"
        raise DataError(f"{path}: cannot be read ({first_line(error)}); {mend}") from error
