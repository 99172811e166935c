"""What a conversion made and what it left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncsam_lightning.records import PublishedCounts, Skipped

_EXAMPLES = 3


@dataclass(slots=True)
class ConversionReport:
    """What a conversion made and what it left out.

    Args:
        table: folder or address of the finished table.
        skipped_file: JSON lines, one ``{"path", "reason", "kind", "source"}`` per image or mask
            left out.
        images: rows written, by split.
        images_of: rows written, by modality.
        masks_of: masks written, by modality.
        skipped: what was left out, counted by (kind, source).
        examples: the first of what was left out.
        notes: what a user should know of the split, a sentence each.
    """

    table: str
    skipped_file: Path
    images: Counter[str] = field(default_factory=Counter)
    images_of: Counter[str] = field(default_factory=Counter)
    masks_of: Counter[str] = field(default_factory=Counter)
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def masks(self) -> int:
        """How many masks were written."""
        return self.masks_of.total()

    @property
    def num_skipped(self) -> int:
        """How many images and masks were left out."""
        return self.skipped.total()

    def add_unit(self, result: Mapping[str, Any]) -> None:
        """Count what a unit of rows gave."""
        self.images.update(result["splits"])
        self.images_of.update(result["images"])
        self.masks_of.update(result["masks"])

    def add_skipped(self, skip: Skipped) -> None:
        """Count something that was left out."""
        self.skipped[skip.kind, skip.source] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(skip)

    def summary(self) -> str:
        """Return the report in one line."""
        by_split = ", ".join(f"{count} {split}" for split, count in sorted(self.images.items()))
        line = f"{self.table}: {self.images.total()} images ({by_split}), {self.masks} masks"
        if self.num_skipped:
            line += f"; {self.num_skipped} skipped, listed in {self.skipped_file}"
        return line

    def details(self, published: PublishedCounts | None = None) -> str:
        """Return the report with counts by modality, and by kind and source of what was left out.

        Args:
            published: what others counted in the same release, to stand beside.
        """
        notes = [f"  {note}" for note in self.notes]
        return "\n".join([self.summary(), *self._modalities(published), *notes, *self._reasons()])

    def _modalities(self, published: PublishedCounts | None) -> Iterator[str]:
        told = {} if published is None else published.counts
        yield f"  {'modality':<20}{'images':>11}{'masks':>12}" + (
            f"    {published.where}: images, masks" if published else ""
        )
        for modality in sorted(self.images_of.keys() | told.keys()):
            line = f"  {modality:<20}{self.images_of[modality]:>11,}{self.masks_of[modality]:>12,}"
            if modality in told:
                line += "    " + ", ".join("?" if n is None else f"{n:,}" for n in told[modality])
            yield line

    def _reasons(self) -> Iterator[str]:
        if self.skipped:
            yield "  skipped"
        for (kind, source), count in sorted(self.skipped.items(), key=lambda it: (-it[1], it[0])):
            yield f"  {count:>11,}  {kind}" + (f" ({source})" if source else "")

    def nothing_usable(self) -> str:
        """Return what to tell when not one row came out."""
        if not self.num_skipped:
            return f"{self.table}: the release holds no images; is this the right folder?"
        examples = "; ".join(f"{skip.path}: {skip.reason}" for skip in self.examples)
        return (
            f"{self.table}: none of the images could be used ({self.num_skipped} skipped); "
            f"the first reasons: {examples}; all are in {self.skipped_file}"
        )
