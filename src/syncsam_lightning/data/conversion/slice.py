"""A slice of a release: the images and masks that a filter asks for, and nothing of the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.records import LazyMasks, NamedMask, RawSample, Skipped

NOT_ASKED_FOR = (NamedMask("", np.zeros((0, 0), bool)),)
"""Masks of an image outside the slice.

That there are some is all the split has to know: it is drawn over the whole release, so that an
image is on the same side in every slice.
"""


def in_slice(
    samples: Iterable[RawSample | Skipped], chosen: RowFilter
) -> Iterator[RawSample | Skipped]:
    """Yield what a filter asks for.

    What was skipped is left out where it is known to belong to another data set. Masks that are
    told only by reading are chosen when they are read.

    Raises:
        FilterError: nothing is left, when all samples have been looked at.
    """
    groups: set[tuple[str, str]] = set()
    is_empty = True
    for sample in samples:
        if isinstance(sample, Skipped):
            if not sample.source or chosen.keeps_source(sample.source):
                yield sample
            continue
        groups.add((sample.modality, sample.source))
        if sample.masks is not NOT_ASKED_FOR and chosen.keeps_group(sample.modality, sample.source):
            masks = _chosen_masks(sample.masks, chosen)
            # An image that had no masks from the start is listed as such.
            if masks or not sample.masks:
                is_empty = False
                yield replace(sample, masks=masks)
    if groups and is_empty:
        modalities, sources = (sorted(set(names)) for names in zip(*groups, strict=True))
        raise FilterError(
            f"data.filter ({chosen}) leaves no image of the release; its modalities are "
            f"{', '.join(modalities)}, its data sets {', '.join(sources)}"
        )


def _chosen_masks(masks: Sequence[NamedMask], chosen: RowFilter) -> Sequence[NamedMask]:
    if not chosen.restricts_labels:
        return masks
    if isinstance(masks, LazyMasks):
        return LazyMasks(_Chosen(masks, chosen), masks.path, masks.files)
    return tuple(mask for mask in masks if chosen.keeps_label(mask.label))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Reads masks, and gives those of the classes that were asked for."""

    masks: LazyMasks
    chosen: RowFilter

    def __call__(self) -> list[NamedMask]:
        """Return the masks; what can't be read, whatever its class, says so when it is called."""
        return [
            mask for mask in self.masks if not mask.label or self.chosen.keeps_label(mask.label)
        ]
