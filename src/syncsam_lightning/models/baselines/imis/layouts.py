"""The names of an IMIS-Net's tensors in each layout of a checkpoint."""

from __future__ import annotations

from syncsam_lightning.models.layout import OWN, Layout

_DEPTH = 12  # blocks of a ViT-B

OFFICIAL = Layout(
    name="imis",
    description="IMIS-Net ViT-B (image_encoder.sam_encoder.*)",
    signature=("image_encoder.sam_encoder.",),
    table=(
        ("image_encoder.vit.", "image_encoder.sam_encoder."),
        # The ViT is timm's, which names the layers of a block's MLP in another way than SAM.
        *(
            (
                f"image_encoder.vit.blocks.{block}.mlp.lin{layer}.",
                f"image_encoder.sam_encoder.blocks.{block}.mlp.fc{layer}.",
            )
            for block in range(_DEPTH)
            for layer in (1, 2)
        ),
        ("image_encoder.neck.", "image_encoder.neck."),
        ("prompt_encoder.", "prompt_encoder."),
        ("mask_decoder.", "mask_decoder."),
    ),
    # timm's neck is in the file, but its place is taken by the one beside it.
    unused=("text_model.", "text_out_dim.", "image_encoder.sam_encoder.neck."),
)

SAM_VIT = Layout(
    name="sam",
    description="Meta's SAM ViT-B (image_encoder.blocks.*), for the ViT alone",
    signature=("image_encoder.blocks.", "image_encoder.patch_embed."),
    table=tuple(
        (f"image_encoder.vit.{part}", f"image_encoder.{part}")
        for part in ("pos_embed", "patch_embed.", "blocks.")
    ),
    # Narrower than IMIS-Net's under the same names.
    unused=("image_encoder.neck.", "prompt_encoder.", "mask_decoder."),
)

LAYOUTS = (
    OFFICIAL,
    SAM_VIT,
    Layout(OWN.name, OWN.description, ("image_encoder.vit.", "mask_decoder.semantic_tokens.")),
)
