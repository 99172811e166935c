"""How the parts that no checkpoint provides start out."""

from __future__ import annotations

from torch import nn


def initialise_convolutions(module: nn.Module) -> None:
    """Draw every convolution below ``module`` from Kaiming's normal (fan-out); biases are zero."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_vit(vit: nn.Module) -> None:
    """Draw a ViT's ``pos_embed`` and linear layers as is usual where it is trained from scratch.

    ``segment_anything`` leaves the positions at zero, from where they would have to be learned.
    """
    nn.init.trunc_normal_(vit.get_parameter("pos_embed"), std=0.02)
    for layer in vit.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)


def initialise_decoder(decoder: nn.Module) -> None:
    """Draw the linear layers of the decoder from Xavier's uniform; biases are zero.

    torch's own default makes queries and keys so small that attention starts almost uniform; the
    prompt then hardly reaches the mask, and a decoder trained from scratch ignores it for long.
    """
    for layer in decoder.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
