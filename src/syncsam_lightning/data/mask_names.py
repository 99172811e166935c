"""Names of mask files: how a label gets into one, and out of it as it was."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote

from syncsam_lightning.seeding import stable_key

_RESERVED = frozenset('/\\:*?"<>|%')
"""What some system does not allow in a name, and the sign that stands before what is replaced."""

_DIGEST = 9


def safe_name(text: str, *, longest: int = 100) -> str:
    """Return ``text`` as part of a file name that stays in its folder on every system.

    Letters of every language, spaces and most signs stay. What can't stand in a name, and dashes
    that could be taken for the ``--`` before a number, become ``%`` and two digits as in addresses
    (RFC 3986, section 2.1), so that :func:`original_name` gives the text back. The rest is put
    into Unicode's normal form C, since some systems change the form of names.

    Args:
        text: of any length and content.
        longest: bytes of UTF-8 that the name may have. What would have more is cut off and ends
            with a short hash of the whole, so that two texts never share a name.
    """
    parts: list[str] = []
    text = unicodedata.normalize("NFC", text)
    for position, letter in enumerate(text):
        before = text[position - 1] if position else ""
        after = text[position + 1 : position + 2]
        at_end = not (before and after)
        is_written = (
            letter in _RESERVED
            or not letter.isprintable()
            or (letter == " " and at_end)
            or (letter == "." and not before)
            or (letter == "-" and (at_end or before == "-"))
            # It would melt into the digits before it when the name is put into form C.
            or (unicodedata.combining(letter) != 0 and (not parts or len(parts[-1]) > 1))
        )
        parts.append(_written(letter) if is_written else letter)
    if sum(map(_size, parts)) > longest:
        while parts and sum(map(_size, parts)) > longest - _DIGEST:
            parts.pop()
        parts.append(f"-{stable_key(text) & 0xFFFFFFFF:08x}")
    return "".join(parts) or "_"


def original_name(name: str) -> str:
    """Return the text that :func:`safe_name` made a name of."""
    return unicodedata.normalize("NFC", unquote(name))


def object_name(label: str, number: int = 1) -> str:
    """Return the part of a mask's file name that tells the object: ``LABEL`` or ``LABEL--2``."""
    return safe_name(label) + (f"--{number}" if number > 1 else "")


def _written(letter: str) -> str:
    coded = quote(letter, safe="", errors="surrogatepass")
    return coded if coded != letter else f"%{ord(letter):02X}"


def _size(part: str) -> int:
    return len(part.encode())
