"""The names that known checkpoints give to our parameters: one table per layout."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from syncsam_lightning.errors import WeightsError

Rename = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Layout:
    """How one family of checkpoints names its tensors.

    Args:
        name: for reports.
        marks: patterns, each of which matches the start of at least one key of every such file.
        renames: ``(pattern, replacement)`` pairs that turn its keys into ours; the first that
            matches the start of a key is used. A key that none matches keeps its name.
    """

    name: str
    marks: tuple[str, ...]
    renames: tuple[Rename, ...] = ()

    def matches(self, keys: Collection[str]) -> bool:
        """Tell whether a state dict with these keys has this layout."""
        return all(any(re.match(mark, key) for key in keys) for mark in self.marks)

    def rename(self, key: str) -> str:
        """Return our name of a key of this layout."""
        for pattern, replacement in self.renames:
            renamed, count = re.subn(rf"^{pattern}", replacement, key)
            if count:
                return renamed
        return key


SAM = Layout(
    "SAM ViT-B",
    marks=(r"image_encoder\.patch_embed\.", r"image_encoder\.blocks\.0\."),
    renames=((r"image_encoder\.", "image_encoder.vit."),),
)
SAM_UNET = Layout(
    "SAM-UNet (the predecessor of SyncSAM)",
    marks=(r"image_encoder\.sam_img_encoder\.", r"resnet\.stage0\.", r"adapters_in\.0\."),
    renames=(
        (r"image_encoder\.sam_img_encoder\.", "image_encoder.vit."),
        (r"prompt_encoder\.sam_prompt_encoder\.", "prompt_encoder."),
        (r"mask_decoder\.sam_mask_decoder\.", "mask_decoder."),
        (r"mask_decoder\.hf_mlp\.", "mask_decoder.mask_mlp."),
        (r"mask_decoder\.embedding_maskfeature\.", "mask_decoder.mask_feature."),
        (r"resnet\.", "image_encoder.cnn."),
        (r"adapters_in\.(\d)\.reshaper\.", r"image_encoder.adapters.\1."),
        # The predecessor keeps its bridges in the order of a decoder, deepest stage first.
        (r"adapters_bridge\.0\.", "multi_scale.bridges.2."),
        (r"adapters_bridge\.1\.", "multi_scale.bridges.1."),
        (r"adapters_bridge\.2\.", "multi_scale.bridges.0."),
        (r"embedding_encoder\.", "multi_scale.embedding_encoder."),
    ),
)
OWN = Layout("SyncSAM Lightning", marks=(r"image_encoder\.(vit|cnn|adapters)\.",))
LIGHTNING = Layout(
    "SyncSAM Lightning checkpoint",
    marks=(r"network\.(image_encoder|prompt_encoder|mask_decoder)\.",),
    renames=((r"network\.", ""),),
)
LAYOUTS = (SAM_UNET, SAM, LIGHTNING, OWN)


def recognise(keys: Collection[str], *, own_keys: Collection[str] = ()) -> Layout:
    """Return the layout of a state dict.

    Args:
        keys: names of its tensors.
        own_keys: names of the model's tensors; a file that has only these is ours, whatever part of
            the model it holds.

    Raises:
        WeightsError: none of the known layouts fits.
    """
    if keys and set(keys) <= set(own_keys):
        return OWN
    for layout in LAYOUTS:
        if layout.matches(keys):
            return layout
    raise WeightsError(
        f"unknown checkpoint layout; known: {', '.join(layout.name for layout in LAYOUTS)}; "
        f"it holds {len(keys)} tensors, such as {', '.join(sorted(keys)[:3]) or 'none'}"
    )
