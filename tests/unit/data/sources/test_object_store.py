"""Releases on an object store: a server on this machine."""

from __future__ import annotations

import importlib.util
import pickle
import threading
import tracemalloc
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.sources.archive_folder import ArchiveFolder
from syncsam_lightning.data.sources.object_store import ObjectFolder
from syncsam_lightning.data.sources.opening import SourceError
from syncsam_lightning.data.sources.tree import Tree
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("moto") is None, reason="moto, the S3 server of these tests, is absent"
)
BUCKET = "bucket"
SILENCE = 0
"""A status that is never sent."""


class Faults:
    """Which of the next answers to reads are replaced by a fault."""

    def __init__(self) -> None:
        self.status = 500
        self.left = 0
        self.damage = ""
        self.over = threading.Event()
        self.endpoint = ""
        self.ranges: list[str] = []


def damaged(kind: str, answer: Any) -> tuple[bytes, dict[str, str]]:
    """Return other bytes than were asked for, and the headers that tell so."""
    if kind == "cut off":  # the connection ends in the middle
        return answer.content[:-9], {}
    first, _, total = answer.headers.get("Content-Range", "bytes 0-0/500").partition("/")
    begin = int(first.removeprefix("bytes ").partition("-")[0]) + (3 if kind == "elsewhere" else 0)
    content = answer.content[: len(answer.content) - 9]
    told = f"bytes {begin}-{begin + len(content) - 1}/{total}"
    return content, {"Content-Range": told}


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to the server, but for the faults."""

    faults: Faults
    upstream: str

    def do_GET(self) -> None:
        import requests

        is_read = self.command == "GET" and "?" not in self.path
        if is_read:
            self.faults.ranges.append(self.headers.get("Range", ""))
            if self.faults.left:
                self.faults.left -= 1
                if self.faults.status == SILENCE:
                    self.faults.over.wait(5)
                    return
                self.send_error(self.faults.status)
                return
        answer = requests.request(
            self.command, self.upstream + self.path, headers=dict(self.headers), timeout=10
        )
        content, changed = answer.content, {}
        if is_read and self.faults.damage:
            content, changed = damaged(self.faults.damage, answer)
        self.send_response(206 if changed else answer.status_code)
        for name, value in (dict(answer.headers) | changed).items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        cut_off = is_read and self.faults.damage == "cut off"
        length = answer.headers.get("Content-Length", "0")
        self.send_header(
            "Content-Length", length if self.command == "HEAD" or cut_off else str(len(content))
        )
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def faults(server: str) -> Iterator[Faults]:
    Proxy.faults, Proxy.upstream = Faults(), server
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    Proxy.faults.endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
    yield Proxy.faults
    Proxy.faults.over.set()
    proxy.shutdown()
    proxy.server_close()


def options(endpoint: str) -> Mapping[str, str]:
    return {
        "aws_endpoint": endpoint,
        "allow_http": "true",
        "aws_region": "us-east-1",
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
        "connect_timeout": "2s",
        "timeout": "2s",
        "client_max_retries": "2",
    }


def upload(server: str, folder: Path, prefix: str) -> str:
    """Copy a folder to the store and return its address."""
    store = fs.S3FileSystem(
        access_key="a", secret_key="b", region="us-east-1", scheme="http",
        endpoint_override=server.removeprefix("http://"), allow_bucket_creation=True,
    )  # fmt: skip
    store.create_dir(BUCKET)
    for path in folder.rglob("*"):
        if path.is_file():
            name = f"{BUCKET}/{prefix}/{path.relative_to(folder).as_posix()}"
            with store.open_output_stream(name) as file:
                file.write(path.read_bytes())
    return f"s3://{BUCKET}/{prefix}"


def test_an_archive_in_parts_is_read_like_the_local_one(
    server: str, tmp_path: Path, archive, files, content
):
    address = upload(server, archive(files, 3000).save(tmp_path), "split")
    for suffix in ("/", "/a.zip", "/a.z02"):
        source = open_source(address + suffix, options(server))
        assert isinstance(source, ZipSource)
    assert content(pickle.loads(pickle.dumps(source))) == (files, {})
    assert source.where("x") == f"{address}/a.zip::x"


def test_a_missing_part_is_named(server: str, tmp_path: Path, archive, files, content):
    archive(files, 3000).save(tmp_path)
    (tmp_path / "a.z02").unlink()
    _, lost = content(open_source(upload(server, tmp_path, "lacking"), options(server)))
    assert set(lost.values()) == {"a.z02 is missing; download it"}


def test_a_folder_of_archives_and_an_unpacked_folder_are_read(
    server: str, tmp_path: Path, archive, content
):
    archive({"A/1": b"1"}).save(tmp_path / "zips", "A")
    archive({"B/2": b"2"}).save(tmp_path / "zips", "B")
    source = open_source(upload(server, tmp_path / "zips", "zips"), options(server))
    assert isinstance(source, ArchiveFolder)
    assert content(source) == ({"A/1": b"1", "B/2": b"2"}, {})
    for name in ("A/x/1", "B/2"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True)
        (tmp_path / "tree" / name).write_bytes(name.encode())
    source = open_source(upload(server, tmp_path / "tree", "tree"), options(server))
    assert isinstance(source, Tree)
    assert content(source) == ({"A/x/1": b"A/x/1", "B/2": b"B/2"}, {})
    assert [part.name for part in source.parts("dataset.json")] == ["tree", "A", "B"]


def test_what_is_not_given_is_taken_from_the_environment(
    server: str, tmp_path: Path, archive, content, monkeypatch
):
    address = upload(server, archive({"a": b"1"}).save(tmp_path), "environment")
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert content(open_source(address)) == ({"a": b"1"}, {})


def test_nothing_at_an_address_is_told(server: str):
    for address in ("s3://bucket/nothing", "s3://bucket/nothing/a.zip"):
        with pytest.raises(DatasetNotFoundError, match=f"no release at {address}"):
            open_source(address, options(server))


def test_small_files_in_a_row_cost_few_requests(
    faults: Faults, server: str, tmp_path: Path, archive, content
):
    many = {f"masks/{number:04d}.png": bytes([number % 256]) * 100 for number in range(300)}
    address = upload(server, archive(many).save(tmp_path), "row")
    source = open_source(address, options(faults.endpoint))
    faults.ranges.clear()
    assert content(source) == (many, {})
    assert len(faults.ranges) < 12


def test_a_single_file_is_read_without_what_follows_it(
    faults: Faults, server: str, tmp_path: Path, archive
):
    many = {f"{number}": bytes([number]) * 10 + bytes(range(256)) * 40 for number in range(9)}
    address = upload(server, archive(many).save(tmp_path), "single")
    source = open_source(address, options(faults.endpoint))
    entries = list(source.entries())
    copy = pickle.loads(pickle.dumps(source))
    faults.ranges.clear()
    assert copy.read(entries[5]) == many["5"]
    (asked,) = faults.ranges
    first, last = map(int, asked.removeprefix("bytes=").split("-"))
    assert last - first < entries[5].position.stored + 400


@pytest.fixture
def flaky(faults: Faults, server: str, tmp_path: Path, files) -> tuple[Tree, Faults]:
    """An unpacked release behind a proxy."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a" * 500)
    address = upload(server, tmp_path / "in", "flaky")
    return Tree(ObjectFolder(address, {**options(faults.endpoint), "timeout": "0.2"})), faults


@pytest.mark.parametrize("status", [500, 503])
def test_a_fault_in_a_read_is_retried_and_then_named(flaky, content, status: int):
    source, faults = flaky
    faults.status, faults.left = status, 2
    assert content(source) == ({"a.png": b"a" * 500}, {})
    assert faults.left == 0
    faults.left = 1 << 30
    whole, lost = content(source)
    assert whole == {}
    assert lost["a.png"] == (
        f"it cannot be read: {faults.endpoint} failed to answer (status {status}, tried 3 times): "
        "try again later"
    )
    faults.left = 0
    assert content(source) == ({"a.png": b"a" * 500}, {})


def test_an_answer_that_does_not_come_is_asked_for_again(flaky, content):
    source, faults = flaky
    faults.status, faults.left = SILENCE, 1
    assert content(source) == ({"a.png": b"a" * 500}, {})
    assert faults.left == 0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("damage", ["shorter", "elsewhere", "cut off"])
def test_other_bytes_than_were_asked_for_are_an_error(flaky, damage: str, streamed: bool):
    source, faults = flaky
    (entry,) = source.entries()
    faults.damage = damage
    with pytest.raises(BrokenInputError, match=r"it cannot be read: |its size is not the 500"):
        source.open(entry).read() if streamed else source.read(entry)
    faults.damage = ""
    assert source.read(entry) == source.open(entry).read() == b"a" * 500


def test_a_short_read_within_an_archive_is_an_error(
    faults: Faults, server: str, tmp_path: Path, archive, files
):
    address = upload(server, archive(files).save(tmp_path), "short")
    source = open_source(address, options(faults.endpoint))
    entries = list(source.entries())
    faults.damage = "shorter"
    with pytest.raises(BrokenInputError, match="it cannot be read: ") as error:
        pickle.loads(pickle.dumps(source)).read(entries[3])
    assert error.value.path == entries[3].name


def test_a_bucket_that_is_not_there_is_told_at_once(server: str):
    expected = (
        r"s3://nobucket/x cannot be opened: there is no bucket nobucket \(NoSuchBucket\): check "
        "the address"
    )
    with pytest.raises(SourceError, match=expected):
        open_source("s3://nobucket/x", options(server))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "these credentials have no right to read it (status 403): ask the owner of bucket"),
        (401, "the store does not know these credentials (status 401): check AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_missing_right_is_told_at_once_with_what_to_do(flaky, content, status: int, reason: str):
    source, faults = flaky
    faults.status, faults.left = status, 1
    _, lost = content(source)
    assert lost["a.png"].startswith(f"it cannot be read: {reason}")


def test_a_server_that_is_down_is_asked_again_and_then_told():
    gone = ObjectFolder("s3://bucket/x", options("http://127.0.0.1:9"))
    expected = r"http://127\.0\.0\.1:9 does not answer \(.*tried 3 times\): check the endpoint"
    with pytest.raises(OSError, match=expected):
        gone.list("")


def test_an_endpoint_without_encryption_is_told():
    given = options("x") | {"aws_endpoint": "http://127.0.0.1:9", "allow_http": "false"}
    with pytest.raises(SourceError, match="set the storage option allow_http to true"):
        open_source("s3://bucket/x", given)


def test_a_secret_is_in_no_message_and_nothing_that_a_source_prints(flaky, content):
    source, faults = flaky
    secret = {"aws_secret_access_key": "hidden", "aws_session_token": "hidden too"}
    folder = ObjectFolder(source.where(""), options(faults.endpoint) | secret)
    faults.status, faults.left = 403, 1 << 30
    _, lost = content(Tree(folder))
    assert "hidden" not in repr(Tree(folder)) + str(lost)
    with pytest.raises(OSError, match="no right") as error:
        folder.read("a.png", 1)
    assert error.value.__suppress_context__


def test_names_of_all_kinds_are_read(server: str, tmp_path: Path, content):
    names = ["a b#.png", "100%.png", "a%20b", "plus+x", "µ/é (1).png", "[x]~*.q", "'\"&<>"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    address = upload(server, tmp_path, "of all/kinds µ")
    whole, lost = content(open_source(address, options(server)))
    assert (whole, lost) == ({name: name.encode() for name in names}, {})


def test_an_object_that_no_path_names_costs_its_folder_only(server: str, content):
    import requests

    for name in ("odd/good/1.png", "odd/bad/..//2.png", "odd/empty/"):
        requests.put(f"{server}/{BUCKET}/{name.replace('..', '%2E%2E')}", data=b"1", timeout=10)
    whole, lost = content(open_source(f"s3://{BUCKET}/odd", options(server)))
    assert whole == {"good/1.png": b"1"}
    assert list(lost) == ["bad"]
    assert lost["bad"].startswith("the folder cannot be listed: ")


def test_nothing_stays_in_memory_of_files_that_were_read(server: str, tmp_path: Path):
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(bytes(1 << 20))
    source = open_source(upload(server, tmp_path, "memory"), options(server))
    entries = list(source.entries())
    tracemalloc.start()
    for entry in entries:
        with source.open(entry) as file:
            while file.read(1 << 16):
                pass
    del file
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 5 << 20  # of twenty; what the server keeps is counted too


@pytest.mark.parametrize("timeout", ["30", "30s", "0.5", "2 min"])
def test_options_of_tables_are_taken(server: str, tmp_path: Path, archive, content, timeout: str):
    address = upload(server, archive({"a": b"1"}).save(tmp_path), "options")
    given = {
        "endpoint": server.removeprefix("http://"),
        "allow_http": "true",
        "region": "us-east-1",
        "access_key_id": "a",
        "SECRET_ACCESS_KEY": "b",
        "timeout": timeout,
        "client_max_retries": "1",
        "client_retry_timeout": "5",
        "download_retry_count": "1",
        "virtual_hosted_style_request": "false",
    }
    assert content(open_source(address, given)) == ({"a": b"1"}, {})
