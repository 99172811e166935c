"""Files of web servers, which fail in every way that is known of them."""

from __future__ import annotations

import multiprocessing
import random
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from multiprocessing.connection import Connection

import pytest

from syncsam_lightning.data.sources import web_files
from syncsam_lightning.data.sources.web_files import (
    ChangedFileError,
    FileVersion,
    RangesIgnoredError,
    WebFolder,
)
from syncsam_lightning.data.sources.zip_end import read_end
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import DatasetNotFoundError
from tests.web_server import WebServer

OFFSETS = range(0, 50_000, 997)
DATA = random.Random(0).randbytes(600_000)


@pytest.fixture(autouse=True)
def a_file(server: WebServer) -> None:
    (server.folder / "a.zip").write_bytes(DATA)


@pytest.fixture
def folder(server: WebServer) -> WebFolder:
    return WebFolder(server.address)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing is waited for, but how long it would have been is noted."""
    noted: list[float] = []
    monkeypatch.setattr(web_files, "sleep", noted.append)
    return noted


def why(folder: WebFolder, kind: type[OSError] = OSError, offset: int = 0) -> str:
    with pytest.raises(kind) as error:
        folder.read_at("a.zip", offset, 1000)
    return str(error.value)


def test_parts_are_read_and_no_byte_more(server: WebServer, folder: WebFolder):
    assert folder.read_at("a.zip", 100, 50) == DATA[100:150]
    assert folder.open("a.zip").read_at(7, 3) == DATA[7:10]
    assert folder.read("a.zip", 5) == DATA[:5]
    assert folder.size("a.zip") == len(DATA)
    assert server.ranges() == ["0-0", "100-149", "7-9", "0-4"]
    assert server.sent == folder.received == 1 + 50 + 3 + 5


def test_less_comes_only_at_the_end_and_nothing_is_asked_for_beyond(
    server: WebServer, folder: WebFolder
):
    assert folder.read_at("a.zip", len(DATA) - 3, 10) == DATA[-3:]
    assert folder.read_at("a.zip", len(DATA), 10) == b""
    assert folder.read_at("a.zip", 5, 0) == folder.read_at("a.zip", 5, -1) == b""
    assert folder.read("a.zip", 1 << 40) == DATA
    assert len(server.requests) == 3


def test_an_empty_file_has_no_bytes(server: WebServer, folder: WebFolder):
    (server.folder / "empty").touch()
    assert folder.size("empty") == 0
    assert folder.read("empty", 10) == b""


def test_a_file_of_gigabytes_costs_what_is_read_of_it(server: WebServer, folder: WebFolder):
    with (server.folder / "large").open("wb") as file:
        file.truncate(9 << 30)
        file.seek(8 << 30)
        file.write(b"here")
    assert folder.read_at("large", 8 << 30, 4) == b"here"
    assert server.sent == 5


def test_bytes_are_passed_on_as_they_come(server: WebServer, folder: WebFolder):
    folder.size("a.zip")
    server.cuts, server.cut_after, server.cut_waits = 1, 1000, 30.0
    stream = folder.stream("a.zip", 0, len(DATA))
    start = time.monotonic()
    assert next(stream) == DATA[:1000]
    assert time.monotonic() - start < 10
    stream.close()


def test_one_connection_serves_many_requests(server: WebServer, folder: WebFolder):
    server.refuse = [503]
    for offset in range(5):
        folder.read_at("a.zip", offset, 1)
    (pool,) = folder._requests._pools.values()
    (connections,) = (pool.pools[key] for key in pool.pools.keys())  # noqa: SIM118
    assert connections.num_connections == 1
    assert connections.num_requests == 7


def test_threads_share_a_folder(server: WebServer, folder: WebFolder):
    server.refuse = [503] * 5
    with ThreadPoolExecutor(8) as threads:
        parts = list(
            threads.map(lambda at: folder.read_at("a.zip", at, 997), range(0, 50_000, 997))
        )
    assert b"".join(parts) == DATA[: len(parts) * 997]
    assert folder.received == server.sent


def _read(folder: WebFolder, to: Connection) -> None:
    to.send((folder.read_at("a.zip", 10, 20), folder.received))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_with_connections_of_their_own(
    method: str, server: WebServer, folder: WebFolder
):
    folder.size("a.zip")
    context = multiprocessing.get_context(method)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_read, args=(folder, there))
    process.start()
    assert here.poll(60)
    assert here.recv() == (DATA[10:30], 20)
    process.join(60)
    assert folder.read_at("a.zip", 0, 5) == DATA[:5]
    # The versions went along: who reads in another process sees a change as well.
    assert server.ranges() == ["0-0", "10-29", "0-4"]
    assert folder.received == 1 + 5


def test_names_and_the_query_of_a_folder_come_into_the_address(server: WebServer):
    (server.folder / "sub").mkdir()
    (server.folder / "sub" / "a b?#%.z01").write_bytes(b"x")
    folder = WebFolder(f"{server.address}/sub/?download=true#top")
    assert folder.read("a b?#%.z01", 9) == b"x"
    assert server.requests[0].path == "/sub/a%20b%3F%23%25.z01?download=true"
    assert folder.where("a.z01") == f"{server.address}/sub/a.z01"
    assert folder.where("") == f"{server.address}/sub"


def test_files_may_have_addresses_of_their_own(server: WebServer):
    addresses = {"first.zip": f"{server.address}/a.zip?key=SECRET#x"}
    folder = WebFolder("https://nowhere.invalid/x", addresses)
    assert folder.read("first.zip", 9) == DATA[:9]
    assert folder.where("first.zip") == f"{server.address}/a.zip"
    assert folder.where("b.zip") == "https://nowhere.invalid/x/b.zip"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://me:SECRET@host/x", "it holds a user or password"),
        ("ftp://host/x", "expected https://HOST/PATH"),
        ("https:///x", "expected https://HOST/PATH"),
        ("https://host:99999/SECRET", "it is no valid address"),
    ],
)
def test_an_address_that_cannot_be_used_is_not_repeated(address: str, reason: str):
    for arguments in ((address,), ("https://host", {"a.zip": address})):
        with pytest.raises(DatasetNotFoundError, match=reason) as error:
            WebFolder(*arguments)
        assert "SECRET" not in str(error.value)


def test_a_folder_is_not_listed(folder: WebFolder):
    with pytest.raises(OSError, match="gives no list of its files"):
        folder.list("")


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_not_there(status: int, server: WebServer, folder: WebFolder):
    server.refuse = [status]
    told = why(folder, FileNotFoundError)
    assert told == f"127.0.0.1:{server.port} does not have it (status {status}): check the address"


def test_a_server_that_ignores_ranges_costs_no_whole_file(server: WebServer, folder: WebFolder):
    with (server.folder / "a.zip").open("r+b") as file:
        file.truncate(4 << 30)
    server.whole = True
    assert "sends whole files where parts are asked for: download" in why(
        folder, RangesIgnoredError
    )
    assert folder.received == 0
    assert server.sent < 64 << 20  # what fits into the buffers of both ends


def test_packed_files_are_refused(server: WebServer, folder: WebFolder):
    server.encoding = "gzip"
    assert "sends the file packed" in why(folder)
    assert server.said("accept-encoding") == ["identity"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again_later(
    status: int, server: WebServer, folder: WebFolder, pauses: list[float], monkeypatch
):
    monkeypatch.setattr(WebFolder, "first_pause", 0.5)
    server.refuse = [status] * 7
    assert folder.read_at("a.zip", 0, 9) == DATA[:9]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32]


def test_a_server_that_stays_busy_is_given_up(
    server: WebServer, folder: WebFolder, pauses: list[float]
):
    server.refuse = [503] * 9
    told = "failed to answer (status 503, tried 8 times): try again later"
    assert why(folder) == f"127.0.0.1:{server.port} {told}"
    assert len(server.requests) == 8


def test_as_long_is_waited_as_the_server_asks(
    server: WebServer, folder: WebFolder, pauses: list[float], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    server.refuse, server.retry_after = [429, 503], "599"
    folder.size("a.zip")
    assert pauses == [599, 599]
    assert "(status 429): try again later; trying again in 599 seconds" in caplog.text


def test_the_wait_may_be_a_date(server: WebServer, folder: WebFolder, pauses: list[float]):
    server.refuse, server.retry_after = [429], formatdate(time.time() + 100, usegmt=True)
    folder.size("a.zip")
    assert 90 < pauses[0] <= 100


@pytest.mark.parametrize("asked", ["soon", "-5", "9" * 5000, "Mon, 01 Jan 0001 00:00:00 GMT"])
def test_a_wait_that_is_no_time_is_none(
    asked: str, server: WebServer, folder: WebFolder, pauses: list[float], monkeypatch
):
    server.refuse, server.retry_after = [429], asked
    folder.size("a.zip")
    assert pauses == [0]


def test_a_wait_that_is_too_long_is_told(server: WebServer, folder: WebFolder, pauses: list[float]):
    server.refuse, server.retry_after = [429], "5000"
    assert "(status 429) and asks to wait 84 minutes: try again then" in why(folder)
    assert pauses == []


def test_a_hub_tells_in_its_own_way_how_long_to_wait(
    server: WebServer, folder: WebFolder, pauses: list[float]
):
    server.refuse, server.rate_limit = [429], '"resolvers";r=0;t=55'
    folder.size("a.zip")
    assert pauses == [55]


def test_a_cut_costs_no_byte_twice(server: WebServer, folder: WebFolder):
    folder.size("a.zip")
    server.cuts, server.cut_after = 3, 100_001
    assert folder.read_at("a.zip", 1000, 500_000) == DATA[1000:501_000]
    assert server.sent == folder.received == 500_001
    firsts = [1000, 101_001, 201_002, 301_003]
    assert server.ranges() == ["0-0", *(f"{first}-500999" for first in firsts)]


def test_a_stall_costs_no_byte_twice(server: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(WebFolder, "read_timeout", 1.0)
    folder = WebFolder(server.address)
    folder.size("a.zip")
    server.cuts, server.cut_after, server.cut_waits = 1, 100_001, 30.0
    assert folder.read_at("a.zip", 0, 400_000) == DATA[:400_000]
    assert server.sent == folder.received == 400_001


def test_cuts_without_a_new_byte_come_to_an_end(server: WebServer, folder: WebFolder):
    folder.size("a.zip")
    server.cuts = 100
    told = "breaks off in the middle of a file (1000 bytes are missing, tried 8 times): check the"
    assert told in why(folder)
    assert len(server.requests) == 1 + 8
    # With new bytes there is no end to the patience.
    server.cuts, server.cut_after = 20, 10
    assert folder.read_at("a.zip", 0, 1000) == DATA[:1000]


@pytest.mark.parametrize("etag", ["strong", "weak", ""])
def test_a_file_that_changes_is_told(etag: str, server: WebServer, folder: WebFolder):
    server.etag = etag
    tag = folder.version("a.zip").tag
    assert tag.startswith('"') is (etag == "strong")
    assert tag.endswith("GMT") is (etag != "strong")
    server.changes_after = 0
    assert why(folder, ChangedFileError) == (
        f"a.zip has changed on 127.0.0.1:{server.port} while it was read: run the same command "
        "again"
    )


def test_a_file_that_changes_behind_a_cut_is_told(server: WebServer, folder: WebFolder):
    folder.size("a.zip")
    server.cuts, server.cut_after, server.changes_after = 1, 500, 2
    stream = folder.stream("a.zip", 0, 1000)
    assert next(stream) == DATA[:500]
    with pytest.raises(ChangedFileError):
        next(stream)


@pytest.mark.parametrize("grown", [-599_990, 5])
def test_without_tags_a_change_of_the_size_is_told(
    grown: int, server: WebServer, folder: WebFolder
):
    server.etag, server.modified = "", False
    assert folder.version("a.zip") == FileVersion(len(DATA), "")
    server.changes_after = 0
    assert folder.read_at("a.zip", 100, 1000) == DATA[100:1100]
    server.grown = grown
    why(folder, ChangedFileError, offset=100)


def test_tags_of_two_kinds_are_not_compared(server: WebServer, folder: WebFolder):
    folder.size("a.zip")
    server.etag = ""
    assert folder.read_at("a.zip", 0, 9) == DATA[:9]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"short": 5}, "sends bytes 0-994/600000 of the file instead of 0-999"),
        ({"shift": 5}, "sends bytes 5-1004/600000 of the file instead of 0-999"),
        ({"content_range": "bytes 7-1006/{size}"}, "sends bytes 7-1006/600000 of the file"),
        ({"content_range": "bytes {first}-{last}/*"}, "does not tell which part of the file"),
        ({"content_range": "bytes 0-999/" + "9" * 5000}, "does not tell which part of the file"),
        ({"content_range": "nonsense"}, "does not tell which part of the file"),
    ],
)
def test_other_bytes_than_asked_for_are_an_error(
    fault: dict[str, object], told: str, server: WebServer, folder: WebFolder
):
    folder.size("a.zip")
    for name, value in fault.items():
        setattr(server, name, value)
    assert told in why(folder)
    assert folder.received == 1


def test_a_server_that_is_gone_is_told(server: WebServer, folder: WebFolder):
    folder.size("a.zip")
    server.__exit__(None, None, None)
    told = "does not answer (Connection refused, tried 8 times): check the address and the network"
    assert told in why(folder)


def test_a_name_that_is_not_known_is_told(server: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(WebFolder, "tries", 1)
    assert "nowhere.invalid does not answer (its name is not known, tried 1 times)" in why(
        WebFolder("https://nowhere.invalid/x")
    )


def test_silence_is_told(monkeypatch: pytest.MonkeyPatch, server: WebServer):
    monkeypatch.setattr(WebFolder, "read_timeout", 0.1)
    monkeypatch.setattr(WebFolder, "tries", 1)
    server.delay = 5.0
    assert "(it was silent for too long, tried 1 times)" in why(WebFolder(server.address))


def test_an_archive_in_parts_is_read_where_it_is_served(
    server: WebServer, folder: WebFolder, archive, files: dict[str, bytes], content
):
    archive(files, 3000).save(server.folder, "r")
    volumes, directory = read_end(folder, "r.zip", "r.z{:02d}".format)
    whole, lost = content(ZipSource(volumes, directory))
    assert (whole, lost) == (files, {})
