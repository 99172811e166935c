"""Releases on an object store: a server on this machine."""

from __future__ import annotations

import importlib.util
import pickle
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.sources.archive_folder import ArchiveFolder
from syncsam_lightning.data.sources.object_store import S3Folder, StorageOptionError
from syncsam_lightning.data.sources.opening import SourceError
from syncsam_lightning.data.sources.tree import Tree
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import DatasetNotFoundError

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
        self.over = threading.Event()
        self.endpoint = ""
        self.ranges: list[str] = []


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to the server, but for the faults."""

    faults: Faults
    upstream: str

    def do_GET(self) -> None:
        import requests

        if "Range" in self.headers:
            self.faults.ranges.append(self.headers["Range"])
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
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", str(len(answer.content)))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

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
    """An unpacked release behind a proxy, with no pauses between attempts."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a" * 500)
    address = upload(server, tmp_path / "in", "flaky")
    given = {**options(faults.endpoint), "timeout": "0.2"}
    folder = S3Folder(address, given, attempts=3, pause=0.001)
    return Tree(folder), faults


@pytest.mark.parametrize("status", [500, 503])
def test_a_fault_in_a_read_is_retried_and_then_named(flaky, content, status: int, caplog):
    source, faults = flaky
    faults.status, faults.left = status, 2
    assert content(source) == ({"a.png": b"a" * 500}, {})
    assert faults.left == 0
    faults.left = 1 << 30
    whole, lost = content(source)
    assert whole == {}
    assert lost["a.png"].startswith("it cannot be read: ")
    assert lost["a.png"].endswith("(tried 3 times)")
    faults.left = 0
    assert content(source) == ({"a.png": b"a" * 500}, {})
    assert "flaky/a.png" in caplog.text


def test_an_answer_that_does_not_come_is_asked_for_again(flaky, content, caplog):
    source, faults = flaky
    faults.status, faults.left = SILENCE, 1
    assert content(source) == ({"a.png": b"a" * 500}, {})
    assert faults.left == 0
    assert "trying again" in caplog.text


def test_a_bucket_that_is_not_there_is_told_at_once(server: str, caplog):
    with pytest.raises(SourceError, match=r"s3://nobucket/x cannot be opened: .*NO_SUCH_BUCKET"):
        open_source("s3://nobucket/x", options(server))
    assert "trying again" not in caplog.text


def test_a_server_that_is_down_is_asked_again_and_then_told():
    gone = S3Folder("s3://bucket/x", options("http://127.0.0.1:9"), attempts=2, pause=0)
    with pytest.raises(OSError, match="tried 2 times"):
        gone.list("")


def test_an_unknown_option_is_told():
    with pytest.raises(StorageOptionError, match="no storage option 'endpoint'; there are aws_"):
        open_source("s3://bucket/x", {"endpoint": "x"})


def test_a_timeout_that_is_no_time_is_told():
    with pytest.raises(StorageOptionError, match="timeout is 'long', expected seconds"):
        open_source("s3://bucket/x", {"timeout": "long"})


def test_credentials_are_not_in_what_a_source_prints(server: str):
    shown = repr(Tree(S3Folder("s3://bucket/x", {"aws_secret_access_key": "hidden"})))
    assert "hidden" not in shown
