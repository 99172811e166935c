"""Requests for parts of files on web servers: connections, redirects, tokens, proxies."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin
from urllib.request import getproxies, proxy_bypass

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Timeout, make_headers
from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from syncsam_lightning.data.sources.web_errors import NoAnswerError, no_answer, refused
from syncsam_lightning.data.sources.web_tokens import host, is_loopback, parsed, token_for

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_CONNECTIONS = 32
# A body up to this size is read to the end so that its connection can be used again.
_SMALL = 64 << 10

# urllib3 writes addresses at level DEBUG, and their queries may be signed.
logging.getLogger("urllib3.connectionpool").addFilter(lambda line: "?" not in line.getMessage())


class PartRequests:
    """Asks for parts of files. Shared by the threads of a process, and not by processes.

    Where a server leads to another address, that one is asked from then on: hubs lead to signed
    addresses, and limit how often they are asked for them.

    Args:
        timeout: seconds to connect, and of silence.

    Attributes:
        received: bytes of bodies that came, of whatever answer.
    """

    def __init__(self, timeout: Timeout) -> None:
        self.received = 0
        self._timeout = timeout
        self._lock = threading.Lock()
        self._pools: dict[str, PoolManager] = {}
        self._led_to: dict[Url, Url] = {}

    def get(self, address: str, first: int, last: int) -> BaseHTTPResponse:
        """Return the answer to a request for a part; nobody has looked whether it is that part.

        Args:
            address: of a file.
            first: byte.
            last: byte, included.

        Returns:
            An answer of status 200, 206 or 416, to be read or closed.

        Raises:
            InterruptedRequestError: it may go well if it is tried again.
            FileNotFoundError: there is no such file.
            OSError: the server refuses it.
        """
        asked, part = parsed(address), (first, last)
        known = self._led_to.get(asked)
        if known is not None:
            try:
                return self._follow(known, asked, part)
            except (NoAnswerError, PermissionError, FileNotFoundError):
                # It has expired, or that server is gone.
                self._led_to.pop(asked, None)
        return self._follow(asked, asked, part)

    def _follow(self, url: Url, asked: Url, part: tuple[int, int]) -> BaseHTTPResponse:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(url, asked, part)
            if answer.status not in _REDIRECTS:
                if url != asked:
                    self._led_to[asked] = url
                return answer
            self.let_go(answer)
            url = _target(url, answer.headers.get("Location", ""))
        raise OSError(f"{host(asked)} leads from address to address without end: check the address")

    def _ask(self, url: Url, asked: Url, part: tuple[int, int]) -> BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={part[0]}-{part[1]}"}
        token = token_for(url)
        if token is not None:
            headers["Authorization"] = f"Bearer {token.value}"
        try:
            answer = self._pool(url).urlopen(
                "GET",
                str(url),
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise no_answer(url, error) from None
        if answer.status in (200, 206, 416, *_REDIRECTS):
            return answer
        self.let_go(answer)
        raise refused(url, answer, token, asked)

    def read(self, answer: BaseHTTPResponse, most: int) -> bytes:
        """Return the next bytes of a body as soon as there are any, ``b""`` at its end or a cut."""
        try:
            piece = answer.read1(most, decode_content=False) or b""
        except HTTPError:
            return b""
        self._count(piece)
        return piece

    def let_go(self, answer: BaseHTTPResponse) -> None:
        """Give up an answer, keeping its connection if that costs little."""
        if answer.length_remaining is not None and answer.length_remaining <= _SMALL:
            with contextlib.suppress(HTTPError):
                self._count(answer.read(decode_content=False))
        answer.close()

    def _count(self, piece: bytes) -> None:
        with self._lock:
            self.received += len(piece)

    def _pool(self, url: Url) -> PoolManager:
        proxy = _proxy(url)
        if proxy not in self._pools:
            self._pools.setdefault(proxy, _new_pool(proxy, self._timeout))
        return self._pools[proxy]


def _target(url: Url, location: str) -> Url:
    """Return the address that a server leads to.

    Raises:
        OSError: it must not be followed.
    """
    try:
        target = parsed(urljoin(str(url), location))
    except ValueError as error:
        raise OSError(f"{host(url)} leads to an address that can't be used: {error}") from None
    if url.scheme == "https" and target.scheme != "https":
        raise OSError(
            f"{host(url)} leads to an address on {host(target)} that is not encrypted, which is "
            "not followed: ask the owner of the server"
        )
    return target


def _proxy(url: Url) -> str:
    """Return the proxy for an address, ``""`` for none; none is asked for this machine itself."""
    if is_loopback(url) or proxy_bypass(host(url)):
        return ""
    proxies = getproxies()
    proxy = proxies.get(str(url.scheme)) or proxies.get("all", "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _new_pool(proxy: str, timeout: Timeout) -> PoolManager:
    settings: dict[str, Any] = {"maxsize": _CONNECTIONS, "timeout": timeout}
    # SSL_CERT_FILE and SSL_CERT_DIR are read by Python itself.
    if bundle := os.environ.get("REQUESTS_CA_BUNDLE"):
        settings["ca_cert_dir" if Path(bundle).is_dir() else "ca_certs"] = bundle
    if not proxy:
        return PoolManager(**settings)
    url = parse_url(proxy)
    if url.auth:
        settings["proxy_headers"] = make_headers(proxy_basic_auth=unquote(url.auth))
    return ProxyManager(str(url._replace(auth=None)), **settings)
