"""A hub that runs on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TOKEN = "hf_x"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as fetching and sending small files take."""

    files: dict[str, bytes]

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/resolve/" not in self.path or name not in self.files:
            self._answer(b"{}", 404, X_Error_Code="EntryNotFound")
            return
        body = self.files[name]
        etag = f'"{hashlib.sha1(body).hexdigest()}"'
        self._answer(body, X_Repo_Commit=COMMIT, ETag=etag)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(b"{}", 401)
            return
        base = f"http://{self.headers['Host']}"
        if self.path.endswith("/repos/create"):
            found: object = {"url": f"{base}/me/tiny"}
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            found = {
                "files": [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in asked
                ]
            }
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            found = {
                "commitUrl": f"{base}/me/tiny/commit/{COMMIT}",
                "commitOid": COMMIT,
                "hookOutput": "",
            }
        else:
            found = {}
        self._answer(json.dumps(found).encode(), Content_Type="application/json")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty hub."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    handler = type("OwnHub", (Hub,), {"files": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
