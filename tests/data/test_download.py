"""Downloads against a server that fails, truncates, corrupts, cannot resume, and changes its mind."""

import errno
import hashlib
import http.client
import socket
import ssl
import time
import zipfile
from pathlib import Path

import pytest
from flaky_server import Served

from deftrec.data import download as module
from deftrec.data import wheel as wheels
from deftrec.data.download import UnreachableError, default_home, download, sha256_of
from deftrec.data.wheel import fetch_from_wheel, unpack
from deftrec.errors import DownloadError, UnwritableError
from deftrec.files import locked

BODY = bytes(range(256)) * 5000


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, none of which takes place."""
    asked: list[float] = []
    monkeypatch.setattr(module.time, "sleep", asked.append)
    return asked


def leftovers(to: Path) -> list[str]:
    return sorted(path.name for path in to.parent.iterdir() if path != to)


def test_fetches_and_checks(served: Served, tmp_path: Path) -> None:
    served.body = BODY
    seen: list[tuple[int, int | None]] = []
    to = download(
        served.url,
        tmp_path / "a" / "f",
        checksum=served.sha256,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert to.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert leftovers(to) == []
    assert sha256_of(to) == served.sha256.removeprefix("sha256:")


def test_md5_is_checked_too(served: Served, tmp_path: Path) -> None:
    served.body = BODY
    good = "md5:" + hashlib.md5(BODY).hexdigest().upper()
    assert download(served.url, tmp_path / "f", checksum=good).read_bytes() == BODY
    with pytest.raises(DownloadError, match="checksum"):
        download(served.url, tmp_path / "g", checksum="md5:" + "0" * 32, attempts=2)


def test_a_file_that_is_there_is_not_fetched_again(served: Served, tmp_path: Path) -> None:
    served.body = BODY
    (tmp_path / "f").write_bytes(BODY)
    download(served.url, tmp_path / "f", checksum=served.sha256)
    assert served.ranges == []
    (tmp_path / "f").write_bytes(b"something else")
    assert download(served.url, tmp_path / "f", checksum=served.sha256).read_bytes() == BODY


def test_retries_server_errors_with_growing_waits(served: Served, tmp_path: Path, waits: list[float]) -> None:
    served.body, served.statuses = BODY, [503, 500, 429]
    assert download(served.url, tmp_path / "f", checksum=served.sha256, backoff=1).read_bytes() == BODY
    assert waits == [1, 2, 4]


def test_gives_up_after_its_attempts(served: Served, tmp_path: Path) -> None:
    served.statuses = [503] * 9
    with pytest.raises(DownloadError, match=r"503.*\(3 attempts\)"):
        download(served.url, tmp_path / "f", attempts=3)
    assert len(served.ranges) == 3
    assert not (tmp_path / "f").exists()


def test_a_missing_file_is_not_retried(served: Served, tmp_path: Path) -> None:
    served.statuses = [404] * 9
    with pytest.raises(DownloadError, match="404"):
        download(served.url, tmp_path / "f")
    assert len(served.ranges) == 1


def test_resumes_what_broke_off(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after = BODY, [1000, 400_000]
    assert download(served.url, tmp_path / "f", checksum=served.sha256).read_bytes() == BODY
    assert served.ranges == ["", "bytes=1000-", "bytes=400000-"]


@pytest.mark.parametrize("error", [ssl.SSLError("bad record mac"), OSError(errno.EHOSTUNREACH, "No route to host")])
@pytest.mark.parametrize("call", ["read", "getresponse"])
def test_whatever_the_network_fails_with_is_tried_again(
    error: OSError, call: str, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.body = BODY
    kind: type = http.client.HTTPResponse if call == "read" else http.client.HTTPConnection
    whole, failures = getattr(kind, call), [error, error]

    def failing(self: object, *arguments: object) -> object:
        if failures:
            raise failures.pop()
        return whole(self, *arguments)

    monkeypatch.setattr(kind, call, failing)
    assert download(served.url, tmp_path / "f", checksum=served.sha256).read_bytes() == BODY
    failures += [error] * 9
    with pytest.raises(DownloadError, match=r"the connection broke off \(.*\(3 attempts\)"):
        download(served.url, tmp_path / "g", attempts=3)


def test_an_error_of_the_disk_is_not_one_of_the_network(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    served.body = BODY
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(UnwritableError, match=r"f\.part\.json: cannot be written \(no space left on device\)"):
        download(served.url, tmp_path / "f")
    assert len(served.ranges) == 1


def test_the_next_call_resumes_too(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after = BODY, [1000]
    with pytest.raises(DownloadError, match="1,000 of 1,280,000 bytes"):
        download(served.url, tmp_path / "f", attempts=1)
    assert download(served.url, tmp_path / "f").read_bytes() == BODY
    assert served.ranges == ["", "bytes=1000-"]


def test_starts_again_where_the_server_cannot_resume(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after, served.resumes = BODY, [1000], False
    assert download(served.url, tmp_path / "f", checksum=served.sha256).read_bytes() == BODY
    assert served.ranges == ["", "bytes=1000-"]


def test_starts_again_where_the_file_has_changed(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after = b"old" * 1000, [1500]

    def change(number: int) -> None:
        if number == 1:
            served.body, served.etag = BODY, '"2"'

    served.on_request = change
    assert download(served.url, tmp_path / "f").read_bytes() == BODY


def test_a_changed_file_may_be_shorter_than_the_part(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after = BODY, [1500]

    def change(number: int) -> None:
        if number == 1:
            served.body, served.etag = b"new", '"2"'

    served.on_request = change
    assert download(served.url, tmp_path / "f").read_bytes() == b"new"


@pytest.mark.parametrize("etag", ["", 'W/"1"'])
def test_does_not_resume_without_a_strong_validator(served: Served, tmp_path: Path, etag: str) -> None:
    served.body, served.break_after, served.etag = BODY, [1000], etag
    assert download(served.url, tmp_path / "f", checksum=served.sha256).read_bytes() == BODY
    assert served.ranges == ["", ""]


def test_a_wrong_range_is_not_appended(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after, served.wrong_range = BODY, [1000], True
    assert download(served.url, tmp_path / "f").read_bytes() == BODY
    assert served.ranges == ["", "bytes=1000-", ""]


def test_a_part_longer_than_the_file_starts_again(served: Served, tmp_path: Path) -> None:
    served.body, served.break_after = BODY, [1000]

    def shrink(number: int) -> None:
        if number == 1:
            served.body = BODY[:500]  # the same ETag: a careless server

    served.on_request = shrink
    assert download(served.url, tmp_path / "f").read_bytes() == BODY[:500]
    assert served.ranges == ["", "bytes=1000-", ""]


def test_corruption_is_found_and_fetched_again(served: Served, tmp_path: Path) -> None:
    served.body = b"x" * len(BODY)
    expected = "sha256:" + hashlib.sha256(BODY).hexdigest()

    def mend(number: int) -> None:
        if number == 1:
            served.body = BODY

    served.on_request = mend
    assert download(served.url, tmp_path / "f", checksum=expected).read_bytes() == BODY
    assert served.ranges == ["", ""]


def test_lasting_corruption_leaves_no_file(served: Served, tmp_path: Path) -> None:
    served.body = b"x" * 1000
    with pytest.raises(DownloadError, match=r"checksum is not sha256:00.*put the right file at"):
        download(served.url, tmp_path / "f", checksum="sha256:" + "0" * 64, attempts=2)
    assert not (tmp_path / "f").exists()
    assert (tmp_path / "f.part").stat().st_size == 0


def test_refuses_what_is_too_large(served: Served, tmp_path: Path) -> None:
    served.body = BODY
    with pytest.raises(DownloadError, match="more than the 1,000"):
        download(served.url, tmp_path / "f", largest=1000)
    served.send_length = False
    with pytest.raises(DownloadError, match="larger than 1,000"):
        download(served.url, tmp_path / "f", largest=1000)
    assert len(served.ranges) == 2


def test_without_a_length_the_end_is_the_end(served: Served, tmp_path: Path) -> None:
    served.body, served.send_length = BODY, False
    totals: list[int | None] = []
    download(served.url, tmp_path / "f", on_progress=lambda done, total: totals.append(total))
    assert (tmp_path / "f").read_bytes() == BODY
    assert set(totals) == {None}


def test_an_unreachable_host_is_said_at_once(tmp_path: Path, waits: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 cannot be reached"):
        download(f"http://127.0.0.1:{port}/f", tmp_path / "f", attempts=9)
    assert time.monotonic() - started < 2
    assert sum(waits) <= 1


def test_an_unknown_host_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"nowhere\.invalid cannot be reached"):
        download("https://nowhere.invalid/f", tmp_path / "f", timeout=5)


@pytest.mark.parametrize("url", ["http://example.org/f", "file:///etc/hostname", "ftp://example.org/f"])
def test_only_https(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only https"):
        download(url, tmp_path / "f")


def test_a_redirect_cannot_leave_https(served: Served, tmp_path: Path) -> None:
    served.redirect = "http://example.org/f"
    with pytest.raises(DownloadError, match="only https"):
        download(served.url, tmp_path / "f")


def test_two_processes_do_not_write_one_file(served: Served, tmp_path: Path) -> None:
    served.body = BODY
    with locked(tmp_path / "f.part", wait=False), pytest.raises(DownloadError, match="another process"):
        download(served.url, tmp_path / "f")
    assert download(served.url, tmp_path / "f").read_bytes() == BODY


def test_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFTREC_HOME", "/somewhere")
    assert default_home() == Path("/somewhere")
    monkeypatch.delenv("DEFTREC_HOME")
    assert default_home() == Path.home() / ".cache" / "deftrec"


# -- archives and wheels ---------------------------------------------------------------------------------------------


def make_wheel(directory: Path, files: dict[str, str]) -> str:
    """A small but valid wheel `tiny-1.0`; returns its sha256."""
    directory.mkdir(exist_ok=True)
    path = directory / "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nRequires-Dist: absent\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return sha256_of(path)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return make_wheel(tmp_path / "wheels", {"tiny/data/a.txt": "hello"})


def test_a_wheel_is_unpacked_once(wheel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = fetch_from_wheel("tiny==1.0", wheel, tmp_path / "cache" / "tiny")
    assert (to / "tiny" / "data" / "a.txt").read_text() == "hello"
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: pytest.fail("pip ran again"))
    assert fetch_from_wheel("tiny==1.0", wheel, tmp_path / "cache" / "tiny") == to


def test_another_wheel_is_refused(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected 0000"):
        fetch_from_wheel("tiny==1.0", "0" * 64, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_pip_says_what_is_wrong(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"tiny==2\.0: pip could not fetch it .*No matching distribution"):
        fetch_from_wheel("tiny==2.0", wheel, tmp_path / "cache")


def test_without_pip_there_is_a_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(wheels.sys, "executable", str(python))
    with pytest.raises(DownloadError, match="ensurepip"):
        fetch_from_wheel("tiny==1.0", "0" * 64, tmp_path / "cache")


@pytest.mark.parametrize("requirement", ["tiny", "tiny>=1", "--index-url=x==1", "tiny==1.0 other", "./tiny==1.0"])
def test_a_requirement_is_one_exact_version(requirement: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="exactly one version"):
        fetch_from_wheel(requirement, "0" * 64, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "..\\out", "C:/out"])
def test_unpacking_stays_inside(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr(zipfile.ZipInfo(name), "x")
    (tmp_path / "to").mkdir()
    with pytest.raises(DownloadError, match="outside"):
        unpack(archive, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_unpacking_refuses_links_and_bombs(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr(link, "/etc")
    with pytest.raises(DownloadError, match="outside"):
        unpack(archive, tmp_path)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("zeros", "0" * 100_000)
    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        unpack(archive, tmp_path, largest=1000)
    archive.write_bytes(b"no zip")
    with pytest.raises(DownloadError, match="not a whole zip"):
        unpack(archive, tmp_path)
