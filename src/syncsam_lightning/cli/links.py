"""Settings of the data that follow from the network."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from syncsam_lightning.geometry import Fit

NETWORK = "model.network"
"""Key of the network in a config."""


@dataclass(frozen=True, slots=True)
class Link:
    """A setting that is computed from another when a config is parsed.

    Args:
        source: key of what decides, as users write it.
        target: key of what follows.
        says: how the source decides, for messages.
        compute: from the value at the source to that at the target; None: they are equal.
    """

    source: str
    target: str
    says: str = "is"
    compute: Callable[[str], Any] | None = None

    @property
    def source_key(self) -> str:
        """The source as jsonargparse spells it."""
        # Not the network as a whole: where there is none, a link from a part of it is skipped.
        return f"{NETWORK}.class_path" if self.source == NETWORK else _with_init_args(self.source)

    @property
    def target_key(self) -> str:
        """The target as jsonargparse spells it."""
        return _with_init_args(self.target)


def fit_of_network(class_path: str) -> Fit:
    """Return how images lie in the square of a network of this class."""
    fit: Fit = pkgutil.resolve_name(class_path).image_fit
    return fit


LINKS = (
    Link(f"{NETWORK}.image_size", "data.image_size"),
    Link(NETWORK, "data.image_fit", says="wants", compute=fit_of_network),
)


def _with_init_args(key: str) -> str:
    head, _, last = key.rpartition(".")
    return f"{head}.init_args.{last}"
