"""The names of a SyncSAM's tensors in each layout of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from syncsam_lightning.models.layout import SAME_NAMES, Layout

SAM = Layout(
    name="sam",
    description="Meta's SAM ViT-B (image_encoder.blocks.*)",
    signature=("image_encoder.blocks.", "image_encoder.patch_embed."),
    table=(
        ("image_encoder.vit.", "image_encoder."),
        ("image_encoder.neck.", "image_encoder.neck."),
        ("prompt_encoder.", "prompt_encoder."),
        ("mask_decoder.", "mask_decoder."),
    ),
)

PREDECESSOR = Layout(
    name="predecessor",
    description="the authors' predecessor SAM-UNet (image_encoder.sam_img_encoder.*, resnet.*)",
    signature=(
        "image_encoder.sam_img_encoder.",
        "prompt_encoder.sam_prompt_encoder.",
        "mask_decoder.sam_mask_decoder.",
        "resnet.stage",
        "adapters_in.",
    ),
    table=(
        ("image_encoder.vit.", "image_encoder.sam_img_encoder."),
        ("image_encoder.neck.", "image_encoder.sam_img_encoder.neck."),
        ("image_encoder.cnn.conv1.", "resnet.stage0.0."),
        ("image_encoder.cnn.bn1.", "resnet.stage0.1."),
        *((f"image_encoder.cnn.layer{i}.", f"resnet.stage{i}.") for i in range(1, 5)),
        *((f"image_encoder.adapters.{i}.", f"adapters_in.{i}.reshaper.") for i in range(4)),
        # It counts its bridges from the deepest stage, as a U-Net's decoder does.
        *((f"image_encoder.bridges.{i}.", f"adapters_bridge.{2 - i}.") for i in range(3)),
        ("image_encoder.embedding_encoder.", "embedding_encoder."),
        ("prompt_encoder.", "prompt_encoder.sam_prompt_encoder."),
        ("mask_decoder.", "mask_decoder.sam_mask_decoder."),
        ("mask_decoder.med_token.", "mask_decoder.med_token."),
        ("mask_decoder.med_mlp.", "mask_decoder.hf_mlp."),
        ("mask_decoder.mask_features.", "mask_decoder.embedding_maskfeature."),
    ),
)

SYNCSAM = Layout(
    name="syncsam",
    description="this package's own (image_encoder.vit.*, image_encoder.cnn.*), bare or in a "
    "Lightning checkpoint",
    signature=(
        "image_encoder.vit.",
        "image_encoder.cnn.",
        "image_encoder.adapters.",
        "image_encoder.bridges.",
        "mask_decoder.med_mlp.",
    ),
    table=SAME_NAMES,
)

LAYOUTS = (PREDECESSOR, SAM, SYNCSAM)


def to_predecessor_layout(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a SyncSAM's state dict to the authors' predecessor's names, for use with its code.

    Raises:
        ValueError: a name is none of ours.
    """
    renamed = {}
    for key, value in state_dict.items():
        if (name := PREDECESSOR.from_ours(key)) is None:
            raise ValueError(f"{key!r} is no tensor of a SyncSAM")
        renamed[name] = value
    return renamed
