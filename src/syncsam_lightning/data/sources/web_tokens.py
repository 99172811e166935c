"""Which token of the environment goes to which web server, and to no other."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import NamedTuple

from urllib3.exceptions import LocationValueError
from urllib3.util import Url, parse_url

_HUB = "https://huggingface.co"
_PORTS = {"https": 443, "http": 80}
_TOKEN = re.compile(r"[!-~]+")


class Token(NamedTuple):
    """What a server knows its reader by.

    Args:
        variable: of the environment that holds it.
        value: secret.
    """

    variable: str
    value: str


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


def parsed(address: str) -> Url:
    """Return the parts of an address of a file or folder on a web server.

    They are those that the request goes by: another reading of the same text could send a token to
    another host than it was meant for.

    Raises:
        ValueError: it can't be used; the message doesn't repeat it, for it may hold a secret.
    """
    try:
        url = parse_url(address)
    except LocationValueError:
        raise ValueError("it is no valid address") from None
    if url.auth is not None:
        raise ValueError(
            "it holds a user or password, which would come into messages and files: leave them "
            "out, and set a token by the environment"
        )
    if url.scheme not in _PORTS or not url.host:
        raise ValueError("expected https://HOST/PATH")
    return url


def host(url: Url) -> str:
    """Return what a server is called in messages: its host, and its port if it is unusual."""
    return str(url.netloc)


def token_for(url: Url) -> Token | None:
    """Return the token that goes with a request, None if none does.

    ``SYNCSAM_TOKEN`` goes to the host that ``SYNCSAM_TOKEN_HOST`` names, ``HF_TOKEN`` to that of
    ``HF_ENDPOINT``; both unencrypted only to this machine itself.

    Raises:
        OSError: the environment has a token that can't be sent, or not who may see it.
    """
    for variable, origins in (("SYNCSAM_TOKEN", _named), ("HF_TOKEN", _hub)):
        value = os.environ.get(variable, "").strip()
        if not value or _origin(url) not in origins() or not is_private(url):
            continue
        if not _TOKEN.fullmatch(value):
            raise OSError(f"{variable} holds spaces or letters that no token has: set it anew")
        return Token(variable, value)
    return None


def is_private(url: Url) -> bool:
    """Return whether nobody can listen: the address is encrypted, or on this machine."""
    return url.scheme == "https" or is_loopback(url)


def is_loopback(url: Url) -> bool:
    """Return whether an address is on this machine."""
    name = str(url.host).strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def what_to_set(url: Url) -> str:
    """Return which variables hold a token for a server."""
    if _origin(url) in _hub():
        return "HF_TOKEN to a token of your account"
    return f"SYNCSAM_TOKEN to a token of yours and SYNCSAM_TOKEN_HOST to {host(url)}"


def _named() -> list[_Origin]:
    """Return who may see the token of our own variable."""
    named = os.environ.get("SYNCSAM_TOKEN_HOST", "").strip()
    if not named:
        raise OSError(
            "SYNCSAM_TOKEN is set, but not who may see it: set SYNCSAM_TOKEN_HOST to the host of "
            "the server"
        )
    try:
        urls = [parsed(f"{scheme}://{named}") for scheme in _PORTS]
    except ValueError:
        urls = []
    if not urls or any((urls[0].path, urls[0].query, urls[0].fragment)):
        # Not repeated: somebody may have put a password there.
        raise OSError("SYNCSAM_TOKEN_HOST is not of the form HOST or HOST:PORT: set it anew")
    return [_origin(url) for url in urls]


def _hub() -> list[_Origin]:
    try:
        return [_origin(parsed(os.environ.get("HF_ENDPOINT", "").strip() or _HUB))]
    except ValueError:
        return []


def _origin(url: Url) -> _Origin:
    scheme = str(url.scheme)
    return _Origin(scheme, str(url.host), url.port or _PORTS[scheme])
