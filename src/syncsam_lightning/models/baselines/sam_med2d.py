"""SAM-Med2D: SAM with an adapter in every block of the image encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

from torch import Tensor, nn

from syncsam_lightning.models.baselines.sam import SAM, check_choices
from syncsam_lightning.models.promptable import ImageFeatures
from syncsam_lightning.models.vit import ViTBlock

ChannelOrder = Literal["rgb", "bgr"]
_STRIDE = 32  # patches of 16 pixels, which the adapters halve once more
_REDUCTION = 4  # of the channels, between the two layers of the channel gate


class SAMMed2D(SAM):
    """SAM-Med2D (Cheng et al., 2023): the adapters, the prompt encoder and the decoder are trained.

    The answer is always the best of SAM's three masks by predicted IoU. An image smaller than the
    square on both sides is centred in it, any other is stretched. Previous answers are expected
    through a sigmoid, in training too: ``model.episode.feedback: sigmoid``.

    The official code feeds images in the order blue, green, red, with SAM's statistics for red,
    green, blue; its authors saw no effect, most images being grey. ``channels="bgr"`` repeats it.

    Args:
        image_size: side S of the square input in pixels, a multiple of 32; the official weights are
            made for 256.
        channels: order in which the encoder sees the channels.
        vit_width: see :class:`SAM`.
        vit_depth: see :class:`SAM`.
        vit_heads: see :class:`SAM`.
        window_size: see :class:`SAM`.

    Raises:
        ValueError: a value is unknown or out of range.
    """

    image_fit = "center"
    feedback = "sigmoid"

    def __init__(
        self,
        *,
        image_size: int = 256,
        channels: ChannelOrder = "rgb",
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        check_choices("channels", [channels], ChannelOrder)
        if image_size % _STRIDE:
            raise ValueError(
                f"image_size must be a multiple of {_STRIDE}, since the adapters halve the token "
                f"grid; got {image_size}"
            )
        super().__init__(
            image_size=image_size,
            multimask="always",
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )
        self.channels = channels
        blocks = cast(Iterable[ViTBlock], self.image_encoder.blocks)
        self.image_encoder.blocks = nn.ModuleList(AdapterBlock(b, vit_width) for b in blocks)
        self.freeze(_sam_parts(vit_depth))

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        # Reversed before normalisation: the statistics stay those of red, green, blue.
        return super().encode(images.flip(1) if self.channels == "bgr" else images, sizes)


def _sam_parts(depth: int) -> list[str]:
    """Return the parts of the image encoder that come from SAM: all but the adapters."""
    parts = ["patch_embed", "pos_embed", "neck"]
    parts += [f"blocks.{i}.{part}" for i in range(depth) for part in AdapterBlock.sam_parts]
    return [f"image_encoder.{part}" for part in parts]


class AdapterBlock(nn.Module):
    """A block of SAM's ViT with an adapter beside its MLP; parameter names are SAM-Med2D's.

    Args:
        block: SAM's, whose parts are taken over.
        width: channels C of the tokens.
    """

    sam_parts = ("norm1", "attn", "norm2", "mlp")

    def __init__(self, block: ViTBlock, width: int) -> None:
        super().__init__()
        self.norm1, self.attn = block.norm1, block.attn
        self.norm2, self.mlp = block.norm2, block.mlp
        self.window_size = block.window_size
        self.Adapter = Adapter(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens ``(B, h, w, C)``."""
        tokens = tokens + self.attn(self.norm1(tokens))
        normed = self.norm2(tokens)
        # The adapter sees the whole grid, in windowed blocks too.
        changed: Tensor = tokens + self.mlp(normed) + self.Adapter(normed)
        return changed


class Adapter(nn.Module):
    """Gates the channels, then halves and doubles the grid, beside a shortcut.

    ``LayerNorm(x + relu(up(relu(down(gate(x) * x)))))``. Drawn from Kaiming's normal (fan-out), as
    published: an untrained adapter is not an identity.

    Args:
        width: channels C of the tokens.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        hidden = max(1, width // _REDUCTION)
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, width, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )
        for layer in (*self.channel, *self.spatial):
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what is added to tokens ``(B, h, w, C)``, of even h and w."""
        gate = self.channel(tokens.mean((1, 2)))[:, :, None, None]
        maps = tokens.permute(0, 3, 1, 2)
        changed = maps + self.spatial(gate * maps)
        added: Tensor = self.norm(changed.permute(0, 2, 3, 1))
        return added
