"""How a checkpoint names the tensors of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Table = tuple[tuple[str, str], ...]
SAME_NAMES: Table = (("", ""),)
"""The table of a layout whose names are the model's own."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to name the tensors of a model.

    A table of prefix pairs (ours, theirs): the longest prefix that fits wins, and what follows the
    prefix is the same on both sides.

    Args:
        name: as reports give it.
        description: for a user who wonders which checkpoints can be loaded.
        signature: prefixes that occur in this layout and in none that is tried after it.
        table: pairs of prefixes (ours, theirs).
        unused: prefixes, in this layout, of tensors that the model does without, such as a text
            tower. Reports list them as unused rather than unexpected.
    """

    name: str
    description: str
    signature: tuple[str, ...] = ()
    table: Table = SAME_NAMES
    unused: tuple[str, ...] = ()

    def matches(self, keys: Iterable[str]) -> bool:
        """Whether a checkpoint with these names is of this layout."""
        return any(key.startswith(self.signature) for key in keys)

    def to_ours(self, key: str) -> str | None:
        """Return our name of their ``key``; None if there is none."""
        return _rename(key, ((theirs, ours) for ours, theirs in self.table))

    def from_ours(self, key: str) -> str | None:
        """Return their name of our ``key``; None if there is none."""
        return _rename(key, self.table)


def _rename(key: str, table: Iterable[tuple[str, str]]) -> str | None:
    fitting = [pair for pair in table if key.startswith(pair[0])]
    if not fitting:
        return None
    old, new = max(fitting, key=lambda pair: len(pair[0]))
    return new + key.removeprefix(old)


OWN = Layout("own", "the model's own names, bare or in a Lightning checkpoint")


def find_layout(
    keys: Iterable[str], model_keys: Iterable[str], layouts: Sequence[Layout]
) -> Layout | None:
    """Return the layout that a checkpoint with these names is of, or None.

    Args:
        keys: names in the checkpoint.
        model_keys: names in the model. A checkpoint that holds nothing else is of the last layout,
            the model's own, even if it lacks all that would tell it apart (a run that trained the
            prompt encoder alone).
        layouts: that the model knows, in the order in which they are tried.
    """
    names = list(keys)
    for layout in layouts:
        if layout.matches(names):
            return layout
    return layouts[-1] if names and set(names) <= set(model_keys) else None
