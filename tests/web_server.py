"""A web server on this machine that hands out the files of a folder, and can be made to fail.

Every fault is a field of :class:`WebServer` that may be set at any time::

    with WebServer(tmp_path) as server:
        server.refuse = [429, 503]
        read(f"{server.address}/a.zip")
        assert server.sent < 1000
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import parse_qs, quote, unquote, urlsplit

_PIECE = 64 << 10
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_FAR = 1 << 62


@dataclass
class Request:
    """One request as it came, and what was answered.

    Args:
        method: ``GET`` or ``HEAD``.
        path: with its query, as it was sent.
        range: the header ``Range``, ``""`` if there is none.
        headers: names in lower case.
        status: of the answer.
        sent: bytes of the answer's body that left.
    """

    method: str
    path: str
    range: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


@dataclass
class WebServer:
    """Serves a folder while it is used as a context manager.

    Args:
        folder: what is served.
        host: name that the server calls itself by in addresses; it listens on 127.0.0.1 alone.
        certificate: a PEM file with a key and its certificate; then it speaks HTTPS.
        token: what each request must have as ``Authorization: Bearer``: 401 without, 403 if wrong.
        redirect_to: a server that has the same files, to which each request for a file is sent,
            signed with its ``signature``; or the text of a ``Location``.
        redirects: how many requests are redirected.
        redirect_status: of these answers.
        signature: what each request must have as ``?signature=``, else 403. Changing it makes the
            addresses that were given out before expire.
        refuse: statuses that the next requests are answered with, in order.
        retry_after: header of these answers.
        rate_limit: header of these answers.
        delay: seconds before an answer.
        whole: ranges are ignored, and files are sent whole with status 200.
        cuts: how many answers are cut.
        cut_after: bytes of body that are sent before a cut.
        cut_waits: seconds that the connection is silent before it is cut: a stall.
        pause: seconds between pieces of 64 KiB of a body.
        changes_after: requests after which the files have another ETag and Last-Modified.
        grown: bytes by which files are longer after that.
        short: bytes by which answers to ranges are too short.
        shift: bytes by which answers to ranges begin too late.
        content_range: what is told instead of the true range, with ``{first}``, ``{last}`` and
            ``{size}``.
        etag: ``strong``, ``weak`` or ``""`` for none.
        modified: whether Last-Modified is sent.
        encoding: a Content-Encoding that is claimed.
    """

    folder: Path
    host: str = "127.0.0.1"
    certificate: Path | None = None
    token: str = ""
    redirect_to: WebServer | str | None = None
    redirects: int = _FAR
    redirect_status: int = 302
    signature: str = ""
    refuse: list[int] = field(default_factory=list)
    retry_after: str = ""
    rate_limit: str = ""
    delay: float = 0.0
    whole: bool = False
    cuts: int = 0
    cut_after: int = 0
    cut_waits: float = 0.0
    pause: float = 0.0
    changes_after: int = _FAR
    grown: int = 0
    short: int = 0
    shift: int = 0
    content_range: str = ""
    etag: str = "strong"
    modified: bool = True
    encoding: str = ""
    requests: list[Request] = field(default_factory=list, init=False)
    lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    stopped: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _server: _Server = field(init=False, repr=False)

    def __enter__(self) -> WebServer:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        self._server.stop()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def address(self) -> str:
        """Where the folder is: ``http://HOST:PORT``."""
        return f"http{'s' if self.certificate else ''}://{self.host}:{self.port}"

    @property
    def sent(self) -> int:
        """Bytes of all bodies that left."""
        with self.lock:
            return sum(request.sent for request in self.requests)

    def ranges(self) -> list[str]:
        """Return the ranges that were asked for, without ``bytes=``, in order."""
        with self.lock:
            return [request.range.removeprefix("bytes=") for request in self.requests]

    def said(self, name: str) -> list[str | None]:
        """Return a header (in lower case) of each request, in order."""
        with self.lock:
            return [request.headers.get(name) for request in self.requests]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, owner: WebServer) -> None:
        self.owner = owner
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        if owner.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(owner.certificate)
            # The handshake is made by the thread of the connection: it must not hold up others.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.owner.lock:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.owner.lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what many tests are about."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        # A kept connection would be answered by its own thread, as if nothing had stopped.
        with self.owner.lock:
            connections = list(self.open)
        for connection in connections:
            _hang_up(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Request(self.command, self.path, headers.get("range", ""), headers)
        with owner.lock:
            owner.requests.append(asked)
            changed = len(owner.requests) > owner.changes_after
            refused = owner.refuse.pop(0) if owner.refuse else 0
        owner.stopped.wait(owner.delay)
        if refused:
            told = {"Retry-After": owner.retry_after, "RateLimit": owner.rate_limit}
            self._answer(asked, refused, told)
        elif owner.token and "authorization" not in headers:
            self._answer(asked, 401)
        elif self._is_forbidden(owner, headers):
            self._answer(asked, 403)
        elif owner.redirect_to is not None and owner.redirects > 0:
            owner.redirects -= 1
            self._answer(asked, owner.redirect_status, {"Location": self._location(owner)})
        else:
            self._hand_out(asked, changed)

    do_HEAD = do_GET  # noqa: N815

    def _is_forbidden(self, owner: WebServer, headers: dict[str, str]) -> bool:
        if owner.token and headers["authorization"] != f"Bearer {owner.token}":
            return True
        signed = parse_qs(urlsplit(self.path).query).get("signature", [])
        return bool(owner.signature) and owner.signature not in signed

    def _location(self, owner: WebServer) -> str:
        target = owner.redirect_to
        if not isinstance(target, WebServer):
            return str(target)
        return f"{target.address}{urlsplit(self.path).path}?signature={quote(target.signature)}"

    def _hand_out(self, asked: Request, changed: bool) -> None:
        owner = self.server.owner
        path = owner.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.resolve().is_relative_to(owner.folder.resolve()) or not path.is_file():
            self._answer(asked, 404)
            return
        status = path.stat()
        size = status.st_size + (owner.grown if changed else 0)
        headers = {"Accept-Ranges": "bytes", "Content-Encoding": owner.encoding}
        if owner.etag:
            weak = "W/" if owner.etag == "weak" else ""
            headers["ETag"] = f'{weak}"{status.st_mtime_ns:x}-{size:x}-{int(changed)}"'
        if owner.modified:
            headers["Last-Modified"] = formatdate(int(status.st_mtime) + changed, usegmt=True)
        part = None if owner.whole else _part(asked.range, size)
        with path.open("rb") as file:
            if part is None:
                self._answer(asked, 200, headers, file, size)
                return
            first, last = part
            if first > last:
                self._answer(asked, 416, headers | {"Content-Range": f"bytes */{size}"})
                return
            first, last = first + owner.shift, last + owner.shift - owner.short
            told = owner.content_range or "bytes {first}-{last}/{size}"
            headers["Content-Range"] = told.format(first=first, last=last, size=size)
            file.seek(first)
            self._answer(asked, 206, headers, file, last - first + 1)

    def _answer(
        self,
        asked: Request,
        status: int,
        headers: dict[str, str] | None = None,
        file: BinaryIO | None = None,
        length: int = 0,
    ) -> None:
        asked.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if file is not None and self.command != "HEAD":
            self._send(asked, file, length)

    def _send(self, asked: Request, file: BinaryIO, length: int) -> None:
        owner = self.server.owner
        with owner.lock:
            cut = owner.cuts > 0
            owner.cuts -= cut
        left = min(length, owner.cut_after) if cut else length
        while left > 0:
            # What lies after the end of a file that has "grown" is zeros.
            piece = file.read(min(left, _PIECE)) or bytes(min(left, _PIECE))
            # Counted first: who has received it may look at once.
            with owner.lock:
                asked.sent += len(piece)
            try:
                self.wfile.write(piece)
            except OSError:
                with owner.lock:
                    asked.sent -= len(piece)
                raise
            left -= len(piece)
            if owner.pause:
                time.sleep(owner.pause)
        if cut:
            owner.stopped.wait(owner.cut_waits)
            self.close_connection = True
            _hang_up(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a range asks for; None if it asks for all."""
    found = _RANGE.fullmatch(asked)
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last or _FAR), size - 1)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end was faster
        connection.shutdown(socket.SHUT_RDWR)
