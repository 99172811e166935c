"""The names of one tensor in each layout of a checkpoint.

A layout is a table of prefix pairs (ours, theirs). The longest prefix that fits wins, and what
follows the prefix is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

Table = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to name the tensors of a model.

    Args:
        name: as reports give it.
        description: for a user who wonders which checkpoints can be loaded.
        signature: prefixes that occur in this layout and in none that is tried after it.
        table: pairs of prefixes (ours, theirs).
        unused: prefixes, in this layout, of what no model here computes. It is reported as unused
            rather than unexpected.
    """

    name: str
    description: str
    signature: tuple[str, ...]
    table: Table
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
    table=(("", ""),),
)

IMIS = Layout(
    name="imis",
    description="IMIS-Net (image_encoder.sam_encoder.*)",
    signature=("image_encoder.sam_encoder.",),
    table=(
        ("image_encoder.vit.", "image_encoder.sam_encoder."),
        # Its ViT is timm's, which names the layers of a block's MLP in another way than SAM.
        *(
            (
                f"image_encoder.vit.blocks.{block}.mlp.lin{layer}.",
                f"image_encoder.sam_encoder.blocks.{block}.mlp.fc{layer}.",
            )
            for block in range(12)
            for layer in (1, 2)
        ),
        ("image_encoder.neck.", "image_encoder.neck."),
        ("prompt_encoder.", "prompt_encoder."),
        ("mask_decoder.", "mask_decoder."),
    ),
    # Of the two necks in the file only the outer one is computed.
    unused=("text_model.", "text_out_dim.", "image_encoder.sam_encoder.neck."),
)

SCRIBBLEPROMPT = Layout(
    name="scribbleprompt",
    description="ScribblePrompt-UNet (downs.*, bottleneck.*, ups.*, final_conv.*)",
    signature=("downs.", "bottleneck.", "ups.", "final_conv."),
    table=(("", ""),),
)

LAYOUTS = (PREDECESSOR, IMIS, SCRIBBLEPROMPT, SAM, SYNCSAM)


def find_layout(keys: Iterable[str], model_keys: Iterable[str]) -> Layout | None:
    """Return the layout that a checkpoint with these names is of, or None.

    Args:
        keys: names in the checkpoint.
        model_keys: names in the model. A checkpoint that holds nothing else is ours, even if it
            lacks all that would tell it apart (a run that trained the prompt encoder alone).
    """
    names = list(keys)
    for layout in LAYOUTS:
        if layout.matches(names):
            return layout
    return SYNCSAM if names and set(names) <= set(model_keys) else None


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
