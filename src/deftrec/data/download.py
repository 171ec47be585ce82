"""Downloads over https: checked, retried, resumed where they stopped, and complete or not there at all.

The library `pooch` is not used because it never resumes: it starts a broken download again from the first byte.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from deftrec.errors import DownloadError, in_a_line
from deftrec.files import default_home as default_home
from deftrec.files import locked, writable, write_text

Progress: TypeAlias = Callable[[int, int | None], None]
"""Callback with the number of bytes received so far, and the total or `None`."""

CHUNK = 1 << 20
LARGEST_FILE = 64 << 30
LONGEST_WAIT = 60.0
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class UnreachableError(DownloadError):
    """The host cannot be reached at all, so another source is worth trying at once."""


class _TryAgainError(Exception):
    """A failed attempt that may succeed when repeated; `wait` is the pause in seconds that the server requested."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def sha256_of(file: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return _digest(Path(file), "sha256")


def checksums(*files: str | Path) -> dict[str, str]:
    """SHA-256 of each file, by its name, behind as many folders as tell it from the others."""
    paths = {Path(file).absolute() for file in files}
    found, depth = dict[str, str](), 1
    while paths:
        ends = Counter(path.parts[-depth:] for path in paths)
        named = {path for path in paths if ends[path.parts[-depth:]] == 1}
        found |= {"/".join(path.parts[-depth:]): sha256_of(path) for path in sorted(named)}
        paths, depth = paths - named, depth + 1
    return found


def download(
    url: str,
    to: str | Path,
    *,
    checksum: str | None = None,
    attempts: int = 5,
    backoff: float = 1.0,
    timeout: float = 20.0,
    largest: int = LARGEST_FILE,
    on_progress: Progress | None = None,
) -> Path:
    """Download `url` to the file `to`, which appears only when it is complete and its checksum is right.

    Received bytes are kept in `to` + `.part`. The next attempt or the next call continues there, if the server supports
    ranges and still has the same version of the file (`Range` with `If-Range`); otherwise it starts again. Raises an
    `UnreachableError` for an unknown host, a refused connection or an invalid certificate, in two attempts; and a
    `DownloadError` for any other failure; the message names the URL and the remedy.

    Args:
        url: https address; plain http only for this machine.
        to: target file. An existing one is kept if its checksum is right, or if there is no checksum.
        checksum: `sha256:<hex>` or `md5:<hex>`, as published.
        attempts, backoff: maximum number of attempts, and seconds between the first two; each further pause doubles.
        timeout: seconds without a byte after which an attempt fails.
        largest: maximum size of the file in bytes.
    """
    to = Path(to)
    _check_address(url)
    if to.is_file() and (checksum is None or _matches(to, checksum)):
        return to
    part = to.with_name(to.name + ".part")
    with writable(to):
        to.parent.mkdir(parents=True, exist_ok=True)
    with _locked_part(part):
        reason, unreachable = "", 0
        for attempt in range(attempts):
            try:
                _attempt(url, part, timeout, largest, on_progress)
                if checksum is None or _matches(part, checksum):
                    part.replace(to)
                    return to
                _forget(part)  # any byte of it may be wrong
                raise _TryAgainError(f"its checksum is not {checksum}")
            except UnreachableError as error:
                unreachable += 1
                timed_out = isinstance(error.__cause__, TimeoutError)
                if unreachable == 2 or attempt + 1 == attempts or timed_out:
                    raise
                time.sleep(min(backoff, 0.5))
            except _TryAgainError as error:
                reason = str(error)
                if attempt + 1 < attempts:
                    time.sleep(min(error.wait if error.wait is not None else backoff * 2**attempt, LONGEST_WAIT))
        message = f"{url}: {reason} ({attempts} attempts); try again later, or put the right file at {to} yourself"
        raise DownloadError(message)


def _attempt(url: str, part: Path, timeout: float, largest: int, on_progress: Progress | None) -> None:
    """Complete `part`, continuing after its last byte where that is safe; `_TryAgainError` if a retry may succeed."""
    validator = _validator(part, url)
    start = part.stat().st_size if validator else 0
    headers = {"User-Agent": "deftrec", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the address was checked
    try:
        with _network():
            answer = urllib.request.build_opener(_NoDowngrade).open(request, timeout=timeout)
        with answer:
            total = _whole_number(answer.headers.get("Content-Length", ""))
            if answer.status == 206:
                found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
                if not found or int(found[1]) != start:
                    _forget(part)
                    raise _TryAgainError("the server sent a range that was not requested")
                total = _whole_number(found[2])
            else:  # the whole file: the server cannot resume, or the file has changed
                start = 0
            free = shutil.disk_usage(part.parent).free
            if total is not None and total > largest:
                raise DownloadError(f"{url}: has {total:,} bytes, more than the {largest:,} allowed")
            if total is not None and total - start > free:
                room = f"{part.parent} has {free:,} free; make room there"
                raise DownloadError(f"{url}: needs {total - start:,} bytes, and {room}")
            if start == 0:
                _remember(part, url, answer.headers)
            with part.open("r+b") as file:
                file.truncate(start)
                done = file.seek(start)
                for chunk in _chunks(answer):
                    done += len(chunk)
                    if done > largest:
                        raise DownloadError(f"{url}: is larger than {largest:,} bytes, the maximum")
                    with writable(part):
                        file.write(chunk)
                    if on_progress is not None:
                        on_progress(done, total)
                with writable(part):
                    file.flush()
                    os.fsync(file.fileno())
            if total is not None and done != total:
                raise _TryAgainError(f"{done:,} of {total:,} bytes came")
    except urllib.error.HTTPError as error:
        raise _status_error(url, error, part) from error
    except (http.client.HTTPException, urllib.error.URLError) as error:
        _explain_failure(url, error)


def _chunks(answer: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _network():
            chunk = answer.read(CHUNK)
        if not chunk:
            return
        yield chunk


@contextmanager
def _network() -> Iterator[None]:
    """Mark errors of the block as errors of the network, not of the disk: another attempt may succeed."""
    try:
        yield
    except urllib.error.URLError:
        raise  # no answer at all, or an HTTP error
    except OSError as error:
        raise _TryAgainError(f"the connection broke off ({in_a_line(error)})") from error


def _status_error(url: str, error: urllib.error.HTTPError, part: Path) -> Exception:
    """The error for an HTTP status."""
    with error:
        if error.code == 416:  # the file on the server is now shorter than the part
            _forget(part)
            return _TryAgainError("the file has changed on the server")
        answered = f"the server answered {error.code} {error.reason}"
        if error.code in (408, 425, 429) or error.code >= 500:
            return _TryAgainError(answered, _whole_number(error.headers.get("Retry-After", "")))
        return DownloadError(f"{url}: {answered}; the address may be out of date")


def _explain_failure(url: str, error: Exception) -> None:
    """Raise the error for a failed connection: an unreachable host, or an interrupted transfer."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise UnreachableError(f"{url}: its certificate is not valid ({cause.verify_message})") from error
    connecting = isinstance(error, urllib.error.URLError)  # urllib wraps only what happens before an answer
    if connecting and isinstance(cause, OSError) and not isinstance(cause, ConnectionResetError | ssl.SSLError):
        host = urlsplit(url).hostname
        raise UnreachableError(f"{url}: {host} cannot be reached ({cause}); check the network") from cause
    raise _TryAgainError(f"the connection broke off ({cause or type(cause).__name__})") from error


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, url: str, headers: Message) -> None:
    """Record the version of the file that the part belongs to. A weak ETag does not guarantee equal bytes."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    write_text(_note(part), json.dumps({"url": url, "validator": validator}))


def _validator(part: Path, url: str) -> str:
    """The ETag or date with which the server can continue `part`; empty if there is none."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        return str(note["validator"]) if note["url"] == url and part.stat().st_size else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _forget(part: Path) -> None:
    _note(part).unlink(missing_ok=True)
    os.truncate(part, 0)


@contextmanager
def _locked_part(part: Path) -> Iterator[None]:
    """Keep other processes from downloading the same file, and remove the record once the file is complete."""
    try:
        with locked(part, wait=False, needed=False):
            part.touch()
            yield
            _note(part).unlink(missing_ok=True)
    except BlockingIOError:
        raise DownloadError(f"{part}: another process downloads this file; wait for it and try again") from None


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to an address that would be allowed as a first address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise DownloadError(f"{url}: only https addresses are downloaded")


def _whole_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _matches(file: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(":")
    if algorithm not in ("sha256", "md5") or not re.fullmatch("[0-9a-fA-F]+", expected):
        raise ValueError(f"not a checksum: {checksum!r}")
    return _digest(file, algorithm) == expected.lower()


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
