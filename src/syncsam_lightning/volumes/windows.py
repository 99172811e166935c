"""From intensities to the 0..255 that models take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from syncsam_lightning.errors import InvalidImageError, SyncSAMError

PERCENTILES = (0.5, 99.5)
"""What the rule ``percentiles`` takes for black and white; the same as ``MaskFolder`` trains on."""


class UnknownWindowError(SyncSAMError):
    """A window was named that there is none of."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which intensities become 0 and 255; what lies between them grows linearly.

    Voxels of -inf are no part of the picture (see :class:`~syncsam_lightning.volumes.Volume`): they
    become 0, and no rule looks at them.

    Args:
        low: becomes 0, and all below it. None: see ``rule``.
        high: becomes 255, and all above it.
        rule: where both are None: ``percentiles`` or ``minmax`` of the whole volume, or
            ``minmax_slice`` of each slice.
    """

    low: float | None = None
    high: float | None = None
    rule: str = "percentiles"

    @property
    def is_fixed(self) -> bool:
        """Whether it is one in Hounsfield units or other absolute intensities."""
        return self.low is not None

    @property
    def is_per_slice(self) -> bool:
        """Whether each slice has black and white of its own."""
        return not self.is_fixed and self.rule == "minmax_slice"

    def fitted(self, voxels: np.ndarray) -> Window:
        """Return the fixed window that a rule over the whole volume gives; others unchanged.

        So is one for colours, which no window changes.

        Raises:
            InvalidImageError: a rule looks at NaN or infinity.
        """
        if self.is_fixed or self.is_per_slice or voxels.ndim == 4:
            return self
        shares = PERCENTILES if self.rule == "percentiles" else (0, 100)
        shown = _shown(voxels)
        low, high = np.percentile(shown, shares).tolist() if shown.size else (0.0, 0.0)
        return Window(low, high)

    def grey(self, pixels: np.ndarray) -> np.ndarray:
        """Return intensities as grey values, and colours as they are.

        Args:
            pixels: ``(H, W)`` of any number type; a :meth:`fitted` window must have been made
                before for the rules over whole volumes. Or ``(H, W, 3)`` uint8.

        Returns:
            ``(H, W)`` or ``(H, W, 3)`` uint8.

        Raises:
            InvalidImageError: there are NaN, or a rule looks at infinity.
        """
        if pixels.ndim == 3:
            return pixels
        # NaN has no place between black and white, and what a cast makes of it is left open.
        if pixels.dtype.kind == "f" and np.isnan(pixels).any():
            raise _not_finite("NaN")
        low, high = self.low, self.high
        if low is None or high is None:
            shown = _shown(pixels)
            low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
        share = (pixels.astype(np.float64) - low) / max(high - low, 1e-12)
        grey: np.ndarray = np.round(share.clip(0, 1) * 255).astype(np.uint8)
        return grey


def _shown(voxels: np.ndarray) -> np.ndarray:
    """Return the voxels that are part of the picture; all of them without a copy."""
    if voxels.dtype.kind != "f":
        return voxels
    lowest, highest = voxels.min(), voxels.max()
    if np.isnan(highest) or np.isposinf(highest):
        raise _not_finite("NaN" if np.isnan(highest) else "infinity")
    return voxels[~np.isneginf(voxels)] if np.isneginf(lowest) else voxels


def _not_finite(what: str) -> InvalidImageError:
    return InvalidImageError(
        f"the intensities hold {what}, which no window can show: give such voxels a number, or "
        "-inf where they are no part of the picture"
    )


def _centred(width: float, level: float) -> Window:
    return Window(level - width / 2, level + width / 2)


PRESETS: Mapping[str, Window] = MappingProxyType(
    {
        "soft_tissue": _centred(400, 40),
        "lung": _centred(1500, -600),
        "bone": _centred(1800, 400),
        "brain": _centred(80, 40),
        "liver": _centred(150, 30),
    }
)
"""Windows in Hounsfield units that radiologists commonly use for CT (width, level: 400, 40 ·
1500, -600 · 1800, 400 · 80, 40 · 150, 30)."""

RULES = ("percentiles", "minmax", "minmax_slice")
"""Windows that follow from the intensities; for MR and everything else that has no fixed scale."""


def parse_window(text: str) -> Window:
    """Return the window that a name or ``WIDTH,LEVEL`` means.

    Raises:
        UnknownWindowError: it means none.
    """
    if text in PRESETS:
        return PRESETS[text]
    if text in RULES:
        return Window(rule=text)
    try:
        width, level = (float(part) for part in text.split(","))
    except ValueError:
        width, level = 0.0, 0.0
    if not (width > 0 and np.isfinite(width + level)):
        raise UnknownWindowError(
            f"window {text!r} is none of {', '.join((*RULES, *PRESETS))}, nor a positive width and "
            "a level, such as 400,40"
        )
    return _centred(width, level)
