"""What is done about known defects of SA-Med2D-20M, each under a name by which it is switched.

Not here: empty masks and masks of another shape than their image. Nothing could be done with those,
so they are always left out (and listed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.data.rules import Rule, switched
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Loadable, NamedMask, RawSample, Skipped

ADAM = "ichallenge_adam_task2"
ACDC = "ACDC"
ACDC_CAVITY = "--0003_000.png"
BINARY_SOURCES = ("Brain_PTM", "QUBIQ2020")
AUTOPET = "autoPET"
NEED_ALL_MASKS = (ACDC,)
"""Data sets of which a rule looks at all masks of an image to judge one."""


RULES: Mapping[str, Rule] = {
    "constant_images": Rule(
        "leaves out images whose pixels are all equal",
        "third-party report (torch-em filters them)",
        default=True,
    ),
    "binary_images": Rule(
        f"leaves out images of {' and '.join(BINARY_SOURCES)} with two values only, which are "
        "masks in the place of images",
        "third-party report (SAM-Med2D issue 63)",
        default=True,
    ),
    "inverted_adam": Rule(
        f"inverts masks of {ADAM} that cover more than half of the image, which no optic disc does",
        "third-party report (torch-em inverts them all)",
        default=True,
    ),
    "acdc_cavity": Rule(
        f"leaves out class 3 of {ACDC}, the whole cavity, on images where other masks overlap it",
        "third-party report (torch-em drops it)",
        default=True,
    ),
    "autopet": Rule(
        f"leaves out {AUTOPET}, whose images may be CT under the name of PET",
        "third-party question without an answer (SAM-Med2D issue 63), hence off",
        default=False,
    ),
}


class Rules:
    """The rules that are on.

    Args:
        switches: rules that are to be on or off against their default.

    Raises:
        ValueError: there is no rule of this name.
    """

    def __init__(self, switches: Mapping[str, bool] | None = None) -> None:
        self.switches = switched(RULES, switches)

    def apply(self, sample: RawSample) -> Iterator[RawSample | Skipped]:
        """Yield what is left of a sample, and what is left out of it."""
        if self.switches["autopet"] and sample.source == AUTOPET:
            yield _left_out(sample.path, sample, "autopet", "its modality is doubtful")
            return
        if self.switches["acdc_cavity"] and sample.source == ACDC:
            sample = replace(sample, masks=tuple(_cavities_checked(sample.masks)))
        if self.switches["inverted_adam"] and sample.source == ADAM:
            sample = replace(sample, masks=tuple(map(_upright, sample.masks)))
        binary = self.switches["binary_images"] and sample.source in BINARY_SOURCES
        if binary or self.switches["constant_images"]:
            constant = self.switches["constant_images"]
            sample = replace(
                sample, image=CheckedImage(sample.image, sample.path, constant, binary)
            )
        yield sample


def _left_out(path: str, sample: RawSample, rule: str, reason: str) -> Skipped:
    return Skipped(path, reason, f"rule {rule}", sample.source)


def _cavities_checked(masks: Sequence[NamedMask]) -> Iterator[NamedMask]:
    others = tuple(mask for mask in masks if not _is_cavity(mask))
    for mask in masks:
        yield replace(mask, mask=CavityMask(mask, others)) if _is_cavity(mask) else mask


def _is_cavity(mask: NamedMask) -> bool:
    return mask.path.endswith(ACDC_CAVITY)


def _upright(mask: NamedMask) -> NamedMask:
    return replace(mask, mask=UprightMask(mask.mask, mask.path))


@dataclass(frozen=True, slots=True)
class UprightMask:
    """Inverts a mask that covers more than half of its image; see :data:`RULES`."""

    mask: Loadable
    path: str

    def __call__(self) -> np.ndarray:
        """Return ``(H, W)`` bool."""
        mask = resolve_mask(self.mask, self.path)
        return ~mask if 2 * int(mask.sum()) > mask.size else mask


@dataclass(frozen=True, slots=True)
class CavityMask:
    """Refuses a mask that another mask of its image has a pixel of; see :data:`RULES`."""

    named: NamedMask
    others: tuple[NamedMask, ...]

    def __call__(self) -> np.ndarray:
        """Return ``(H, W)`` bool.

        Raises:
            BrokenInputError: it overlaps another mask.
        """
        mask = resolve_mask(self.named.mask, self.named.path)
        for other in self.others:
            try:
                pixels = resolve_mask(other.mask, other.path)
            except BrokenInputError:
                continue  # it is listed when its own turn comes
            if pixels.shape == mask.shape and (pixels & mask).any():
                reason = f"it is the whole cavity and overlaps {other.path}"
                raise BrokenInputError(self.named.path, reason, kind="rule acdc_cavity")
        return mask


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """Refuses images without content; see :data:`RULES`."""

    image: Loadable
    path: str
    constant: bool
    binary: bool

    def __call__(self) -> np.ndarray:
        """Return the pixels.

        Raises:
            BrokenInputError: the image has one value, or two where that is asked to be refused.
        """
        pixels = resolve_image(self.image, self.path)
        low, high = int(pixels.min()), int(pixels.max())
        if self.constant and low == high:
            reason = f"all its pixels are {low}"
            raise BrokenInputError(self.path, reason, kind="rule constant_images")
        if self.binary and low != high and ((pixels == low) | (pixels == high)).all():
            reason = f"all its pixels are {low} or {high}: a mask in the place of an image"
            raise BrokenInputError(self.path, reason, kind="rule binary_images")
        return pixels
