"""Choosing images and masks by modality, source and class, of a table or of a release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from syncsam_lightning.data.index import TableIndex, rows_with_labels
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import SyncSAMError

Names = str | Sequence[str] | None


class FilterError(SyncSAMError):
    """A filter names what is not in the table or the release, or leaves nothing."""


@dataclass(frozen=True)  # no slots: jsonargparse reads defaults from __dict__
class RowFilter:
    """Which images and masks of a table are used, in every split; or which get into a table.

    Each setting is one name or a list of names. Those left out don't restrict anything.

    Args:
        modality: images of these modalities only.
        modality_not: no images of these.
        source: images of these data sets only.
        source_not: no images of these.
        label: masks of these classes only, and images that have one.
        label_not: no masks of these, and only images that have another.
    """

    modality: Names = None
    modality_not: Names = None
    source: Names = None
    source_not: Names = None
    label: Names = None
    label_not: Names = None

    def chosen(self, table: Table, index: TableIndex) -> np.ndarray:
        """Return ``(rows,)`` bool: which rows of a table are used.

        Raises:
            FilterError: a name is not in the table, or no row is left.
            TableError: the table can't be read.
        """
        chosen = np.ones(len(index.split.codes), bool)
        for name, column in (("modality", index.modality), ("source", index.source)):
            self._check(name, column.values, str(table))
            if (wanted := _names(getattr(self, name))) is not None:
                chosen &= column.among(wanted)
            chosen &= ~column.among(_names(getattr(self, f"{name}_not")) or frozenset())
        if self.restricts_labels:
            has_mask, labels = rows_with_labels(table, self.keeps_label)
            self._check("label", labels, str(table))
            chosen &= has_mask
        if not chosen.any():
            raise FilterError(f"data.filter ({self}) leaves no image of {table}")
        return chosen

    def keeps_group(self, modality: str, source: str) -> bool:
        """Whether images of a modality and a data set may be used."""
        return self._keeps("modality", modality) and self.keeps_source(source)

    def keeps_source(self, source: str) -> bool:
        """Whether images of a data set may be used."""
        return self._keeps("source", source)

    @property
    def restricts_labels(self) -> bool:
        """Whether some masks of a chosen row may be left out."""
        return self.label is not None or self.label_not is not None

    def label_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the classes that are wanted and those that are not, sorted."""
        wanted, unwanted = (sorted(_names(names) or ()) for names in (self.label, self.label_not))
        return tuple(wanted), tuple(unwanted)

    def keeps_label(self, label: str) -> bool:
        """Whether masks of a class are used."""
        return self._keeps("label", label)

    def _keeps(self, name: str, value: str) -> bool:
        wanted = _names(getattr(self, name))
        return (wanted is None or value in wanted) and value not in (
            _names(getattr(self, f"{name}_not")) or ()
        )

    def check_modalities(self, known: Iterable[str], where: str) -> None:
        """Raise :class:`FilterError` if a modality is named that is not among the known ones."""
        self._check("modality", known, where)

    def _check(self, name: str, known: Iterable[str], where: str) -> None:
        known = sorted(known)
        for key in (name, f"{name}_not"):
            for value in sorted(_names(getattr(self, key)) or ()):
                if value not in known:
                    raise FilterError(
                        f"data.filter.{key}: {where} has no {name} {value!r}; "
                        f"it has {', '.join(known)}"
                    )

    def given(self) -> dict[str, list[str]]:
        """Return what was given, as sorted names by setting; empty if nothing is restricted."""
        values = {field.name: _names(getattr(self, field.name)) for field in fields(self)}
        return {key: sorted(names) for key, names in values.items() if names is not None}

    def __str__(self) -> str:
        told = {key: ", ".join(names) or "none" for key, names in self.given().items()}
        return ", ".join(f"{key}: {names}" for key, names in told.items())


def _names(value: Names) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset([value] if isinstance(value, str) else value)
