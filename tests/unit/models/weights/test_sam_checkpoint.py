from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models import find_sam_checkpoint
from syncsam_lightning.models.weights.sam_checkpoint import OFFICIAL_SHA256, OFFICIAL_URL

CONTENT = os.urandom(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "sam_vit_b_01ec64.pth"


class Server(ThreadingHTTPServer):
    requests = 0
    announced = len(CONTENT)
    status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/segment_anything/{NAME}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.announced))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that gave up early
            self.wfile.write(CONTENT)

    def log_message(self, *_args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def closed_url() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}/{NAME}"


def test_the_official_file_is_asked_for_by_default():
    assert f"https://dl.fbaipublicfiles.com/segment_anything/{NAME}" == OFFICIAL_URL
    assert re.fullmatch("[0-9a-f]{64}", OFFICIAL_SHA256)


def test_it_is_downloaded_once(server, tmp_path):
    cache = tmp_path / "new" / "cache"
    for _ in range(2):
        path = find_sam_checkpoint(url=server.url, sha256=SHA256, cache=cache)
        assert path == cache / NAME
        assert path.read_bytes() == CONTENT
    assert server.requests == 1
    assert list(cache.iterdir()) == [path]


def test_several_at_once_download_it_once(server, tmp_path):
    found = []

    def find() -> None:
        found.append(find_sam_checkpoint(url=server.url, sha256=SHA256, cache=tmp_path))

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == [tmp_path / NAME] * 4
    assert server.requests == 1
    assert list(tmp_path.iterdir()) == [tmp_path / NAME]


def test_the_environment_names_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNCSAM_CACHE", str(tmp_path))
    assert find_sam_checkpoint(url=server.url, sha256=SHA256) == tmp_path / NAME


def test_without_it_torch_s_own_cache_is_used(server, tmp_path, monkeypatch):
    monkeypatch.delenv("SYNCSAM_CACHE", raising=False)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path))
    path = find_sam_checkpoint(url=server.url, sha256=SHA256)
    assert path == tmp_path / "checkpoints" / NAME


@pytest.mark.promise(
    "Supply: weights that are downloaded are used only if their hash is the known one"
)
def test_a_wrong_hash_is_refused_and_leaves_nothing(server, tmp_path):
    with pytest.raises(WeightsError) as caught:
        find_sam_checkpoint(url=server.url, sha256="0" * 64, cache=tmp_path)
    assert f"its SHA-256 is {SHA256}, expected {'0' * 64}" in str(caught.value)
    assert server.url in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_leaves_nothing(server, tmp_path):
    server.announced = len(CONTENT) + 1
    with pytest.raises(WeightsError, match="could not download"):
        find_sam_checkpoint(url=server.url, sha256=SHA256, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_s_refusal_is_told(server, tmp_path):
    server.status = 403
    with pytest.raises(WeightsError, match="HTTP Error 403"):
        find_sam_checkpoint(url=server.url, sha256=SHA256, cache=tmp_path)


def test_offline_the_error_says_which_file_to_put_where(closed_url, tmp_path):
    with pytest.raises(WeightsError) as caught:
        find_sam_checkpoint(url=closed_url, sha256=SHA256, cache=tmp_path)
    message = str(caught.value)
    assert f"could not download SAM's checkpoint from {closed_url}" in message
    assert f"put the file at {tmp_path / NAME}" in message
    assert "sam_checkpoint" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise(
    "Supply: weights that are downloaded are used only if their hash is the known one"
)
def test_a_wrong_file_in_the_cache_is_refused_not_replaced(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="Delete it and run again"):
        find_sam_checkpoint(url=server.url, sha256=SHA256, cache=tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"something else"
    assert server.requests == 0


def test_a_path_of_one_s_own_is_taken_as_it_is(tmp_path):
    path = tmp_path / "medsam.pth"
    path.write_bytes(b"x")
    assert find_sam_checkpoint(str(path)) == path


def test_a_path_that_does_not_exist_is_named_with_the_address(tmp_path):
    path = tmp_path / "none.pth"
    with pytest.raises(WeightsError) as caught:
        find_sam_checkpoint(path)
    assert str(path) in str(caught.value)
    assert OFFICIAL_URL in str(caught.value)
