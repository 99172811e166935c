"""What went wrong with an object store, in one sentence that tells what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

_STATUS = re.compile(r"status(?: code)?: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_TRIES = re.compile(r"after (\d+) retries")
_HOST = re.compile(r"https?://[^/\s?]+")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_WRONG_KEY = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthenticationFailed",
)
# Without credentials the library asks the machine that a virtual one runs on for some.
_NO_CREDENTIALS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Environment variables that name who reads, by the scheme of an address."""


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what the library raises into an ``OSError`` in our words.

    Its own messages go over many lines and repeat what the store answered, which may hold the name
    of a key; they are neither shown nor kept as the cause.

    Args:
        uri: address of the folder that is read.

    Raises:
        FileNotFoundError: a file is not there.
        OSError: a request failed for another reason.
    """
    try:
        yield
    except (BaseError, ValueError, OSError) as error:
        raise _as_os_error(error, uri) from None


def _as_os_error(error: Exception, uri: str) -> OSError:
    text = first_line(error)
    scheme, _, place = uri.partition("://")
    bucket, variables = place.partition("/")[0], CREDENTIALS[scheme]
    code, status = _first(_CODE, str(error)), _first(_STATUS, text)
    cause = code or (f"status {status}" if status else text.rpartition(" - ")[2])
    if tries := _first(_TRIES, text):
        cause += f", tried {int(tries) + 1} times"
    if any(sign in text for sign in _NO_CREDENTIALS):
        return OSError(
            f"no credentials were found: set {variables}, or for a public bucket the storage "
            "option skip_signature to true"
        )
    if code in _NO_BUCKET:
        return OSError(f"there is no bucket {bucket} ({cause}): check the address")
    if code in _WRONG_KEY or status == "401":
        return OSError(
            f"the store does not know these credentials ({cause}): check {variables}, and the "
            "clock of this machine"
        )
    if status == "403":
        return OSError(
            f"these credentials have no right to read it ({cause}): ask the owner of {bucket}, "
            f"or set {variables} to those of somebody who has"
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"it is not there ({cause})")
    if "redirect" in text:
        return OSError(
            f"{bucket} lies in another region: set AWS_REGION or the storage option aws_region"
        )
    host = _first(_HOST, text)
    if host and "builder error" in text:
        return OSError(f"{host} is not encrypted: set the storage option allow_http to true")
    if host and not status and not code:
        return OSError(
            f"{host} does not answer ({cause}): check the endpoint and the network, and try again"
        )
    if host:
        return OSError(f"{host} failed to answer ({cause}): try again later")
    return OSError(cause)


def first_line(error: Exception) -> str:
    """Return what an error says, without the inner life of the library that follows."""
    return str(error).partition("\n")[0].strip()


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[found.lastindex or 0] if found else ""
