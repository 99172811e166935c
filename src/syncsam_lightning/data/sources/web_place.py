"""Where the archives of a release lie on web servers, and what they are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from syncsam_lightning.errors import DatasetNotFoundError

ZIP = ".zip"
LIST = ".txt"
"""How the name of a file with addresses ends."""

_SCHEMES = ("https", "http")
_OFTEN_MEANT = (("/tree/", "/resolve/"), ("/blob/", "/resolve/"))


def is_web(root: str | os.PathLike[str]) -> bool:
    """Tell whether a release lies on web servers, by its address or a file with addresses."""
    text = os.fspath(root)
    scheme, mark, _ = text.partition("://")
    if mark:
        return scheme in _SCHEMES
    return text.endswith(LIST) and Path(text).is_file()


@dataclass(frozen=True, slots=True)
class WebPlace:
    """Archives on web servers. No server gives a list, so their names are known beforehand.

    Args:
        folder: address of the folder of files that have no address of their own.
        names: of files that archives end with, ``NAME.zip``; other parts may be among them.
        addresses: of files, by name.
    """

    folder: str
    names: tuple[str, ...]
    addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: str | os.PathLike[str], usual: Sequence[str]) -> WebPlace:
        """Find out which archives are meant.

        Args:
            root: address of a folder, of an archive or of one of its parts; or a file with
                addresses, one a line.
            usual: what the archives in a folder are called, without ``.zip``.

        Raises:
            DatasetNotFoundError: no archive is named.
        """
        text = os.fspath(root)
        if "://" not in text:
            return cls._listed(Path(text))
        folder, _, file = without_query(text).rstrip("/").rpartition("/")
        query = text.partition("?")[2]
        stem, dot, ending = unquote(file).rpartition(".")
        if dot and (ending.lower() == ZIP[1:] or (ending[:1] in "zZ" and ending[1:].isdecimal())):
            return cls(_with_query(folder, query), (f"{stem}{ZIP}",))
        if not usual:
            raise DatasetNotFoundError(
                f"which archives are to be read at {without_query(text)}? Web servers give no "
                "list of a folder: name the data sets by data.filter.source, give the address of "
                f"one archive, or a file NAME{LIST} with the addresses of several"
            )
        return cls(text.rstrip("/"), tuple(f"{stem}{ZIP}" for stem in usual))

    @classmethod
    def _listed(cls, path: Path) -> WebPlace:
        addresses: dict[str, str] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            address = line.strip()
            if not address or address.startswith("#"):
                continue
            if urlsplit(address).scheme not in _SCHEMES:
                raise DatasetNotFoundError(
                    f"{path}, line {number}: expected an address https://HOST/PATH/NAME.zip"
                )
            name = unquote(without_query(address).rpartition("/")[2])
            if name in addresses:
                raise DatasetNotFoundError(f"{path}, line {number}: {name} is listed twice")
            addresses[name] = address
        if not addresses:
            raise DatasetNotFoundError(f"{path} holds no address")
        if not any(name.lower().endswith(ZIP) for name in addresses):
            raise DatasetNotFoundError(
                f"{path} lists no NAME{ZIP}: that is the last part of an archive, whose end tells "
                "where all of it lies; add its address"
            )
        first = next(iter(addresses.values()))
        folder = without_query(first).rpartition("/")[0]
        return cls(_with_query(folder, first.partition("?")[2]), tuple(addresses), addresses)

    @property
    def cache(self) -> Path:
        """Folder for what is kept between runs, on a disk of this machine.

        It lies in the one that the environment variable ``SYNCSAM_CACHE`` names, else in the
        user's usual folder for such (``XDG_CACHE_HOME``, ``~/.cache``).
        """
        told = os.environ.get("SYNCSAM_CACHE")
        usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "syncsam-lightning"
        # A query may change from day to day, as signatures do.
        key = repr(
            [without_query(self.folder), *self.names]
            + [without_query(address) for address in self.addresses.values()]
        )
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        host = urlsplit(self.folder).hostname or ""
        return Path(told or usual).expanduser() / "releases" / f"{host}-{digest}"

    @property
    def folder_name(self) -> str:
        """The address of the folder, for messages."""
        return without_query(self.folder)

    def advice(self) -> str:
        """Return what to try where a file is not there, ``""`` if nothing comes to mind."""
        for wrong, right in _OFTEN_MEANT:
            if wrong in self.folder:
                return f"; the addresses of files on a hub hold {right} in place of {wrong}"
        return ""


def without_query(address: str) -> str:
    """Return an address that may be shown and kept: a query may be signed."""
    return address.partition("#")[0].partition("?")[0]


def _with_query(folder: str, query: str) -> str:
    return f"{folder}?{query}" if query else folder
