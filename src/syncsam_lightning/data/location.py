"""Where a table lies: a folder, or a place in an object store; and the options of such stores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncsam_lightning.errors import TableError

# A run should outlive a minute in which the store answers 500 or not at all; the client waits
# longer after each attempt. Its own limit is three attempts.
_PATIENCE = {"client_max_retries": "8", "client_retry_timeout": "120"}
# Options and variables of the environment by kind of store; what comes first counts. An endpoint is
# handed on as the first option: no variable overrides that in the libraries, where one overrides
# `aws_endpoint`.
_ENDPOINT = {
    "s3": (
        (
            *("aws_endpoint_url_s3", "aws_endpoint", "aws_endpoint_url"),
            *("endpoint_url_s3", "endpoint", "endpoint_url"),
        ),
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    ),
    "az": (
        ("azure_storage_endpoint", "azure_endpoint", "endpoint"),
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    ),
}
_ACCOUNT = {"az": (("azure_storage_account_name", "account_name"), ("AZURE_STORAGE_ACCOUNT_NAME",))}
_KINDS = {"s3": "s3", "az": "az", "ab": "az"}
"""By how an address begins: ``s3://``, ``az://``, ``abfss://``."""


@dataclass(frozen=True, slots=True)
class TableLocation:
    """The place of a table.

    Args:
        uri: path of a folder, or a URI such as ``s3://bucket/table.lance``.
        storage_options: for a URI, options of the object store (``aws_endpoint``, ``aws_region``,
            ``timeout``, ...). What is not given comes from the environment (``AWS_ENDPOINT_URL``,
            ``AWS_ACCESS_KEY_ID``, ...), which is the place for secrets: options are written into
            the records of a run.
    """

    uri: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(
        cls,
        place: str | os.PathLike[str] | TableLocation,
        storage_options: Mapping[str, str] | None = None,
    ) -> TableLocation:
        """Return the location that a user's text names; ``~`` is the home folder."""
        if isinstance(place, TableLocation):
            return place
        text = os.fspath(place)
        if "://" not in text:
            text = str(Path(text).expanduser())
        return cls(text, dict(storage_options or {}))

    @property
    def is_remote(self) -> bool:
        """Whether the table lies in an object store."""
        return "://" in self.uri

    @property
    def path(self) -> Path:
        """The folder of a local table.

        Raises:
            TableError: the table lies in an object store.
        """
        if self.is_remote:
            raise TableError(f"{self.uri} is in an object store and has no folder on this machine")
        return Path(self.uri)

    def open_options(self) -> dict[str, str] | None:
        """Return the options to open the table with; None for a local one."""
        if not self.is_remote:
            return None
        return with_patience(self.storage_options, self.uri)

    def __str__(self) -> str:
        return self.uri


def store_of(storage_options: Mapping[str, str], uri: str) -> dict[str, str]:
    """Return which of all object stores of a kind some options and the environment name.

    Buckets of one name may be on several stores, and containers in several accounts.

    Args:
        storage_options: see :class:`TableLocation`.
        uri: of the table, which tells the kind.

    Returns:
        ``endpoint`` and ``account``, each ``""`` for the usual one.
    """
    return {
        "endpoint": _given(_ENDPOINT, storage_options, uri),
        "account": _given(_ACCOUNT, storage_options, uri),
    }


def _given(
    setting: Mapping[str, tuple[Sequence[str], Sequence[str]]], options: Mapping[str, str], uri: str
) -> str:
    names, variables = setting.get(_kind(uri), ((), ()))
    known = _in_lower_case(options)
    found = [known.get(name) for name in names] + [os.environ.get(name) for name in variables]
    return next(filter(None, found), "")


def _kind(uri: str) -> str:
    return _KINDS.get(uri[:2].lower(), "")


def _in_lower_case(options: Mapping[str, str]) -> dict[str, str]:
    """Return options by the names that count: the libraries take them in any case."""
    return {name.lower(): value for name, value in options.items()}


def with_patience(options: Mapping[str, str], uri: str = "s3://") -> dict[str, str]:
    """Return options of an object store with those that were not given.

    Requests are repeated for longer than the client would by itself. Of an endpoint its beginning
    tells whether it is encrypted; one without it is, unless ``allow_http`` is true.

    Args:
        options: those that were given.
        uri: of the store. Variables of the environment say nothing of stores of another kind.
    """
    known = _PATIENCE | _in_lower_case(options)
    endpoint = _given(_ENDPOINT, known, uri)
    if not endpoint:
        return known
    if "://" not in endpoint:
        is_open = known.get("allow_http", "").lower() in ("true", "1", "yes", "on")
        endpoint = f"{'http' if is_open else 'https'}://{endpoint}"
    names, _ = _ENDPOINT[_kind(uri)]
    for name in names:  # two that mean one thing are refused
        known.pop(name, None)
    known[names[0]] = endpoint
    if endpoint.startswith("http://"):
        known.setdefault("allow_http", "true")
    return known
