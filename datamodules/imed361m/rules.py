"""What is done about known defects of IMed-361M, each under a name by which it is switched.

Both rules come from one report: the training code of a third party, which corrects its images so.
The public sample cannot confirm them, so both are off by default; look at a few images of the data
sets in question before switching one on.

Not here, since nothing could be done with those: files that can't be read, and images without a
mask. They are always left out, and listed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from syncsam_lightning.data.rules import Rule, switched

TURNED_180 = frozenset(
    {
        "AbdomenCT1K",
        "AMOS2022_CT",
        "AMOS2022_MR",
        "BTCV",
        "FLARE21",
        "FLARE22",
        "Learn2Reg2022_L2R_task1_AbdomenCTCT",
        "Learn2Reg2022_L2R_task1_AbdomenMRCT_seg_CT",
        "Learn2Reg2022_L2R_task1_AbdomenMRCT_seg_MR",
        "MMWHS_CT",
        "MMWHS_MR",
        "MSD_Heart",
        "MSD_Liver",
        "MSD_Prostate",
        "MSD_Spleen",
        "Myops2020_t2",
        "SPPIN2023",
        "Totalsegmentator_dataset",
        "μ-RegPro_us",
    }
)
TURNED_90 = frozenset(
    {
        "Continuous_Registration_task1",
        "finding-lungs-in-ct-data_3d",
        "KiTS",
        "KiTS2021",
        "KiTS2023",
    }
)
SORTED_CHANNELS = frozenset({"Totalsegmentator_dataset"})
BACKGROUND = "background"


RULES: Mapping[str, Rule] = {
    "orientation": Rule(
        f"turns images and masks upright: by 180° in {', '.join(sorted(TURNED_180))}; by 90° "
        f"clockwise in {', '.join(sorted(TURNED_90))}",
        "third-party report (a loader that turns them). Looked at in the public sample of BTCV: as "
        "released the patient's back is up and the liver on the left, turned the back is down and "
        "the liver on the right, which is not how radiologists look at it either. Hence off",
        default=False,
    ),
    "channel_order": Rule(
        f"names the channels of {', '.join(sorted(SORTED_CHANNELS))} by the sorted class names, "
        "not in the order of dataset.json",
        "third-party report (a loader that sorts them), which the public sample can't tell, hence "
        "off",
        default=False,
    ),
}


_DIGITS = 9
"""More than any channel's number has; Python refuses to read thousands."""


class Rules:
    """The rules that are on.

    Args:
        switches: rules that are to be on or off against their default.

    Raises:
        ValueError: there is no rule of this name.
    """

    def __init__(self, switches: Mapping[str, bool] | None = None) -> None:
        self.switches = switched(RULES, switches)

    def quarter_turns(self, source: str) -> int:
        """Return by how many quarter turns, counter-clockwise, a data set is turned."""
        if not self.switches["orientation"]:
            return 0
        name = _normal(source)
        return 2 if name in TURNED_180 else 3 if name in TURNED_90 else 0

    def channel_names(self, source: str, labels: Mapping[str, str]) -> ChannelNames:
        """Return the class names of a data set by channel.

        Args:
            source: name of the data set.
            labels: of its ``dataset.json``, with the background as ``"0"``.
        """
        if self.switches["channel_order"] and _normal(source) in SORTED_CHANNELS:
            names = sorted(name for name in labels.values() if name != BACKGROUND)
            return ChannelNames(dict(enumerate(names)))
        return ChannelNames(
            {int(n) - 1: name for n, name in labels.items() if n.isdecimal() and len(n) < _DIGITS}
        )


def _normal(name: str) -> str:
    """Return the one form of a name that can be written in several: Unicode has two signs for μ."""
    return unicodedata.normalize("NFKC", name)


@dataclass(frozen=True, slots=True)
class ChannelNames:
    """Class names by channel; a channel without a name gets its number."""

    names: Mapping[int, str]

    def __getitem__(self, channel: int) -> str:
        return self.names.get(channel, f"class_{channel + 1:04d}")


@dataclass(frozen=True, slots=True)
class Turned:
    """Loads pixels and turns them.

    Args:
        load: gives ``(H, W)`` or ``(H, W, C)``.
        quarter_turns: counter-clockwise.
    """

    load: Callable[[], np.ndarray]
    quarter_turns: int

    def __call__(self) -> np.ndarray:
        """Return the turned pixels."""
        return np.ascontiguousarray(np.rot90(self.load(), self.quarter_turns))
