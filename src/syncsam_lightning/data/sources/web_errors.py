"""What went wrong with a web server, in one sentence that tells what to do about it.

No sentence holds an address with its query, which may be signed, or what urllib3 says: it repeats
such addresses.
"""

from __future__ import annotations

import re
import ssl

from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    LocationValueError,
    NameResolutionError,
    ProxyError,
    SSLError,
    TimeoutError,
)
from urllib3.util import Url

from syncsam_lightning.data.sources.web_tokens import Token, host, is_private, what_to_set

_RATE_LIMIT = re.compile(r";\s*t=(\d{1,9})\b")
_PASSING = (408, 429, 500, 502, 503, 504)


class InterruptedRequestError(OSError):
    """A request failed for a reason that may pass.

    Args:
        what: happened.
        cause: in a few words.
        advice: what to do if it doesn't pass.
        wait: seconds that the server asks to wait.
    """

    def __init__(self, what: str, cause: str, advice: str, wait: float = 0.0) -> None:
        super().__init__(f"{what} ({cause}): {advice}")
        self.what = what
        self.cause = cause
        self.advice = advice
        self.wait = wait


class NoAnswerError(InterruptedRequestError):
    """A request was not answered at all."""


def no_answer(url: Url, error: HTTPError) -> OSError:
    """Return why a request was not answered, or an answer broke off."""
    name, inner = host(url), next(iter(error.args), None)
    if isinstance(error, SSLError) and isinstance(
        inner, ssl.SSLCertVerificationError | FileNotFoundError
    ):
        reason = getattr(inner, "verify_message", "") or inner.strerror
        return OSError(
            f"the certificate of {name} can't be verified ({reason}): if your network or the "
            "server has an authority of its own, set SSL_CERT_FILE to the file of its certificates"
        )
    if isinstance(error, LocationValueError):
        return OSError(
            f"the proxy for {name} can't be used: check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
        )
    what, advice = f"{name} does not answer", "check the address and the network, and try again"
    if isinstance(error, ProxyError):
        what, advice = f"the proxy for {name} does not answer", "check HTTPS_PROXY and NO_PROXY"
    return NoAnswerError(what, _cause(error), advice)


def _cause(error: HTTPError) -> str:
    if isinstance(error, NameResolutionError):
        return "its name is not known"
    for inner in (error.__cause__, *error.args):
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
    if isinstance(error, TimeoutError):
        return "it was silent for too long"
    return "the connection was cut"


def refused(url: Url, answer: BaseHTTPResponse, token: Token | None, asked: Url) -> OSError:
    """Return what a status means that is no success.

    Args:
        url: of the request.
        answer: its body is not looked at.
        token: that went with the request.
        asked: the address that led to it, which is ``url`` if it was not redirected.
    """
    status, name = answer.status, host(url)
    if status in (404, 410):
        return FileNotFoundError(f"{name} does not have it (status {status}): check the address")
    if status in (401, 403):
        sender = host(asked) if host(asked) != name else ""
        return PermissionError(_forbidden(url, status, token, sender))
    if status in _PASSING:
        what = f"{name} failed to answer"
        return InterruptedRequestError(what, f"status {status}", "try again later", _wait(answer))
    return OSError(f"{name} failed to answer (status {status}): check the address")


def _forbidden(url: Url, status: int, token: Token | None, sender: str) -> str:
    name = host(url)
    if token is None and sender:
        return f"{name}, to which {sender} leads, refuses to give it (status {status}): try again"
    if token is None and not is_private(url):
        return (
            f"{name} asks who reads (status {status}), and no token is sent where others can "
            "listen: use its https:// address"
        )
    if token is None:
        return f"{name} asks who reads (status {status}): set {what_to_set(url)}"
    if status == 401:
        return f"{name} does not know the token in {token.variable} (status 401): set a valid one"
    return (
        f"{name} does not let the owner of the token in {token.variable} read it (status 403): on "
        "the page of the data set, look whether its conditions must be accepted first, or set "
        f"{token.variable} to a token of somebody who may read it"
    )


def _wait(answer: BaseHTTPResponse) -> float:
    """Return the seconds that a server asks to wait: as a number, until a date, or as hubs do."""
    hub = _RATE_LIMIT.search(answer.headers.get("RateLimit", ""))
    try:
        asked = float(Retry().get_retry_after(answer) or 0.0)
    except (InvalidHeader, ValueError, OverflowError):
        asked = 0.0
    return max(asked, float(hub[1]) if hub and answer.status == 429 else 0.0)
