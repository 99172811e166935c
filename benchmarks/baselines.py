"""`python -m benchmarks.baselines`: what our ViT saves the models that SyncSAM is compared with.

Each encodes one image at its own size, with its attention and with `segment_anything`'s, which pads
windows and makes arrays of tokens × tokens. Weights are random, and the same.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections.abc import Callable

import torch
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import (
    Attention,
    window_partition,
    window_unpartition,
)
from torch import Tensor, nn

from benchmarks.training.memory import peak_bytes
from benchmarks.training.timing import in_turns
from syncsam_lightning.models import (
    FTSAM,
    SAM,
    IMISNet,
    MedSAM,
    PromptableModel,
    SAMMed2D,
    ScribblePromptSAM,
)
from syncsam_lightning.models.vit.attention import WindowAttention

MODELS: dict[str, Callable[..., PromptableModel]] = {
    model.__name__: model for model in (SAM, FTSAM, MedSAM, SAMMed2D, ScribblePromptSAM, IMISNet)
}
_TINY = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2}


class PaddedAttention(nn.Module):
    """Attention as `segment_anything` computes it, around the parameters of ours.

    Args:
        attention: ours.
        window_size: of its block; 0: it attends to the whole grid.
    """

    def __init__(self, attention: WindowAttention, window_size: int) -> None:
        super().__init__()
        self.attention, self.window_size = attention, window_size

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend ``(B, H, W, C)``."""
        if not self.window_size:
            return Attention.forward(self.attention, tokens)
        windows, padded = window_partition(tokens, self.window_size)
        attended = Attention.forward(self.attention, windows)
        return window_unpartition(attended, self.window_size, padded, tokens.shape[1:3])


def with_padding(model: PromptableModel) -> PromptableModel:
    """Return a copy whose image encoder is computed as `segment_anything` does it."""
    plain = copy.deepcopy(model)
    for parent in list(plain.image_encoder.modules()):
        for name, child in parent.named_children():
            if isinstance(child, WindowAttention):
                setattr(parent, name, PaddedAttention(child, parent.window_size))
            elif isinstance(child, LayerNorm2d):
                norm = LayerNorm2d(child.weight.shape[0], eps=child.eps)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    # As convolutions are created; SAM's maps come to its neck with channels last either way.
    return plain.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def compare(name: str, repeats: int, tiny: bool) -> str:
    """Return a row of the table for one model."""
    torch.manual_seed(0)
    ours = MODELS[name](**(_TINY if tiny else {})).eval()
    plain = with_padding(ours)
    side = ours.input_spec.size
    images = torch.randint(0, 256, (1, 3, side, side)).byte()
    expected = plain.encode(images).embedding
    difference = (ours.encode(images).embedding - expected).norm() / expected.norm()
    ways = {"padded": lambda: plain.encode(images), "ours": lambda: ours.encode(images)}
    seconds = in_turns(ways, repeats)
    ratios = [b / a for a, b in zip(seconds["padded"], seconds["ours"], strict=True)]
    padded, own = (
        f"{statistics.median(s):.2f} ({min(s):.2f}-{max(s):.2f})" for s in seconds.values()
    )
    memory = [peak_bytes(work, "cpu") / 2**20 for work in ways.values()]
    return (
        f"| {name}, {side} | {padded} | {own} | {statistics.median(ratios):.2f} | "
        f"{memory[0]:,.0f} | {memory[1]:,.0f} | {difference:.0e} |"
    )


def main(arguments: list[str]) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.baselines", description=__doc__)
    parser.add_argument("--only", choices=MODELS, action="append", help="measure these alone")
    parser.add_argument("--repeats", type=int, default=3, help="turns, after one not counted")
    parser.add_argument("--tiny", action="store_true", help="toy models, to see that it runs")
    parser.add_argument("--threads", type=int, help="of the CPU; default: all cores")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    print("| model, pixels | padded, s | ours, s | ratio | padded, MiB | ours, MiB | rel. diff. |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in given.only or MODELS:
        print(compare(name, given.repeats, given.tiny), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
