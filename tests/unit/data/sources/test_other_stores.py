"""Releases on the stores of Google and Azure: as much of both as reading asks for."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.sources.opening import SourceError
from syncsam_lightning.data.sources.zip_source import ZipSource

WHEN = "Mon, 30 Nov 2026 12:00:00 GMT"
AZURE_FILE = (
    "<Blob><Name>{0}</Name><Properties><Last-Modified>" + WHEN + "</Last-Modified><Etag>e</Etag>"
    "<Content-Length>{1}</Content-Length><Content-Type>x</Content-Type></Properties></Blob>"
)
GOOGLE_FILE = (
    "<Contents><Key>{0}</Key><Size>{1}</Size><LastModified>2026-11-30T12:00:00.000Z</LastModified>"
    "<ETag>e</ETag></Contents>"
)


class Store(BaseHTTPRequestHandler):
    """Lists and hands out objects."""

    objects: Mapping[str, bytes]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).removeprefix("/").partition("/")
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if bucket != "bucket":
            code = "ContainerNotFound" if "restype" in asked else "NoSuchBucket"
            self.answer(404, f"<Error><Code>{code}</Code></Error>".encode())
        elif not key:
            self.answer(200, self.listing(asked.get("prefix", ""), "restype" in asked))
        elif key not in self.objects:
            self.answer(404, b"")
        else:
            self.hand_out(self.objects[key])

    do_HEAD = do_GET  # noqa: N815

    def listing(self, prefix: str, is_azure: bool) -> bytes:
        below = [name for name in self.objects if name.startswith(prefix)]
        files = [name for name in below if "/" not in name.removeprefix(prefix)]
        folders = {name[: name.index("/", len(prefix)) + 1] for name in below if name not in files}
        form = AZURE_FILE if is_azure else GOOGLE_FILE
        items = "".join(form.format(escape(name), len(self.objects[name])) for name in files)
        for name in sorted(folders):
            inner = f"<{'Name' if is_azure else 'Prefix'}>{escape(name)}<"
            inner += f"/{'Name' if is_azure else 'Prefix'}>"
            outer = "BlobPrefix" if is_azure else "CommonPrefixes"
            items += f"<{outer}>{inner}</{outer}>"
        if is_azure:
            items = f"<EnumerationResults><Blobs>{items}</Blobs><NextMarker/></EnumerationResults>"
        else:
            items = f"<ListBucketResult>{items}</ListBucketResult>"
        return items.encode()

    def hand_out(self, data: bytes) -> None:
        asked = self.headers.get("Range") or self.headers.get("x-ms-range")
        if asked is None:
            self.answer(200, data)
            return
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        told = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        self.answer(206, part, {"Content-Range": told})

    def answer(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        known = {"Content-Length": str(len(data)), "Last-Modified": WHEN, "ETag": "e"}
        for name, value in (known | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def options(scheme: str, endpoint: str) -> dict[str, str]:
    """Return how a store is reached, in the names that tables take."""
    if scheme == "gs":
        account = {"gcs_base_url": endpoint, "disable_oauth": True}
        account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        given = {"google_service_account_key": json.dumps(account)}
    else:
        given = {
            "azure_storage_account_name": "account",
            "azure_storage_account_key": "aGlkZGVu",
            "azure_storage_endpoint": endpoint,
        }
    return given | {"allow_http": "true", "client_max_retries": "1"}


def stored(folder: Path) -> dict[str, bytes]:
    return {
        f"f/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_an_archive_in_parts_is_read(endpoint, scheme, tmp_path: Path, archive, files, content):
    Store.objects = stored(archive(files, 3000).save(tmp_path))
    source = open_source(f"{scheme}://bucket/f/a.z01", options(scheme, endpoint))
    assert isinstance(source, ZipSource)
    assert content(pickle.loads(pickle.dumps(source))) == (files, {})


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_an_unpacked_release_is_read(endpoint, scheme, content):
    files = {"top.json": b"", "A/x/µ 1.png": b"1" * 300, "A/2.png": b"2"}
    Store.objects = {f"f/{name}": data for name, data in files.items()}
    source = open_source(f"{scheme}://bucket/f", options(scheme, endpoint))
    assert content(source) == (files, {})
    entries = {entry.name: entry for entry in source.entries()}
    with source.open(entries["A/x/µ 1.png"]) as file:
        assert file.read() == b"1" * 300


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_bucket_that_is_not_there_is_told(endpoint, scheme):
    with pytest.raises(SourceError, match="there is no bucket other"):
        open_source(f"{scheme}://other/f", options(scheme, endpoint))
