"""Tables in an object store: a loopback S3 server, and a proxy before it that injects faults."""

import http.client
import logging
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.fs as pafs
import pytest
import torch

from syncsam_lightning.data.location import TableLocation
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import DatasetNotFoundError, TableError

moto_server = pytest.importorskip("moto.server", reason="needs moto[server] of the dev extra")
BUCKET = "tables"
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# Give up soon: these tests wait for every attempt.
IMPATIENT = {
    "client_max_retries": "1",
    "client_retry_timeout": "3",
    "timeout": "400ms",
    "download_retry_count": "0",
}


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on, but for as many on data files as ``server.faults`` says."""

    protocol_version = "HTTP/1.1"

    def forward(self):
        server = self.server
        with server.lock:
            server.data_requests += "/data/" in self.path
            fails = server.faults > 0 and "/data/" in self.path
            server.faults -= fails
        if fails and server.kind == "timeout":
            time.sleep(0.6)
            self.close_connection = True
            return
        if fails:
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        upstream = http.client.HTTPConnection("127.0.0.1", server.upstream)
        upstream.request(self.command, self.path, headers=dict(self.headers))
        answer = upstream.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        upstream.close()

    do_GET = do_HEAD = forward  # noqa: N815

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def store():
    """The port of an S3 server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    urllib.request.urlopen(
        urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
    )
    yield port
    server.stop()


@pytest.fixture
def proxy(store):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.upstream, server.faults, server.kind, server.data_requests = store, 0, "500", 0
    server.lock = threading.Lock()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def remote(tiny, store, proxy, monkeypatch):
    """A local datamodule, and the URI of a copy of its table; the environment says the rest."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(name, value)
    local = tiny()
    files = pafs.S3FileSystem(
        endpoint_override=f"127.0.0.1:{store}",
        scheme="http",
        access_key="a",
        secret_key="b",
        region="us-east-1",
    )
    name = f"{time.monotonic_ns()}.lance"
    pafs.copy_files(str(local.table.path), f"{BUCKET}/{name}", destination_filesystem=files)
    return local, f"s3://{BUCKET}/{name}"


def equal(left, right):
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in left.__dataclass_fields__
    )


def test_rows_from_a_store_equal_the_local_ones(remote):
    local, uri = remote
    order = [3, 0, 19, 3]
    ours, theirs = local.table.read(order), Table(uri).read(order)
    assert all(map(equal, ours, theirs))
    assert Table(uri).settings == local.table.settings


@pytest.mark.parametrize("workers", [0, 1])
def test_a_datamodule_streams_from_a_store_as_from_a_disk(remote, tiny, workers):
    local, uri = remote
    # A fork server that an earlier test started has the environment of then.
    options = {name.lower(): os.environ[name] for name in ("AWS_REGION", *SECRETS)}
    datamodule = type(local)(
        table=uri,
        image_size=32,
        batch_size=4,
        masks_per_image=3,
        num_workers=workers,
        storage_options=options | {"aws_endpoint": os.environ["AWS_ENDPOINT_URL"]},
    )
    datamodule.prepare_data()  # the table is there: nothing is converted
    datamodule.setup("fit")
    for ours, theirs in zip(local.train_dataloader(), datamodule.train_dataloader(), strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.targets.masks, theirs.targets.masks)


def test_only_the_rows_asked_for_are_fetched(remote, proxy):
    _, uri = remote
    table = Table(uri)
    table.read([0])
    proxy.data_requests = 0
    table.read([7])
    assert 0 < proxy.data_requests < 20


@pytest.mark.parametrize("kind", ["500", "timeout"])
def test_a_fault_in_one_read_is_retried(remote, proxy, kind):
    local, uri = remote
    table = Table(uri, IMPATIENT)
    assert len(table) == 20
    proxy.kind, proxy.faults = kind, 1
    assert equal(table.read([5])[0], local.table.read([5])[0])
    assert proxy.faults == 0


def test_a_fault_that_stays_names_table_rows_and_cause(remote, proxy):
    _, uri = remote
    table = Table(uri, IMPATIENT | {"client_max_retries": "0"})
    assert len(table) == 20
    proxy.faults = 10_000
    with pytest.raises(TableError, match=rf"rows 5, 6 of {uri} cannot be read: .*500"):
        table.read([5, 6])
    proxy.faults = 0
    assert table.read([5])[0].id.startswith("image-")


def test_a_table_that_is_not_there_is_said_to_be_missing(remote):
    table = Table(f"s3://{BUCKET}/none.lance")
    assert not table.exists()
    with pytest.raises(DatasetNotFoundError, match=f"no table at s3://{BUCKET}/none.lance"):
        len(table)


def test_a_store_that_cannot_be_reached_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(TableError, match=r"s3://b/t.lance cannot be opened as a table: .*"):
        len(Table("s3://b/t.lance", IMPATIENT | {"client_max_retries": "0", "aws_region": "x"}))


def test_a_place_is_a_folder_or_a_uri():
    assert TableLocation.parse("a/b.lance").path.parts == ("a", "b.lance")
    assert TableLocation.parse("~/b.lance").path.is_absolute()
    assert not TableLocation.parse("a/b.lance").is_remote
    assert TableLocation.parse("a/b.lance").open_options() is None
    remote = TableLocation.parse("s3://bucket/b.lance", {"aws_endpoint": "http://127.0.0.1:1"})
    assert remote.is_remote
    assert remote.uri == "s3://bucket/b.lance"
    assert remote.open_options()["allow_http"] == "true"


def test_plain_http_is_allowed_only_for_an_endpoint_that_says_so(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.example")
    assert "allow_http" not in TableLocation.parse("s3://bucket/b.lance").open_options()
