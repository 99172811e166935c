"""The image encoder beside ``segment_anything``'s, and beside what the machine can multiply."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from benchmarks.training.peak import large_products, operations, peak_rate
from benchmarks.training.report import Line
from benchmarks.training.setting import Setting
from benchmarks.training.timing import in_turns
from syncsam_lightning.models.syncsam.architecture import EMBED_DIM, Architecture
from syncsam_lightning.models.syncsam.encoder import sam_neck
from syncsam_lightning.models.vit import NUM_STAGES, StagedViT

_BATCH = 4
_SAM = "segment_anything"


def measure_encoder(setting: Setting) -> list[Line]:
    """Compare times, outputs and gradients; relate the rate to that of a matrix product."""
    sam, ours = _pair(setting)
    images = torch.randn(_BATCH, 3, setting.side, setting.side, device=setting.device)
    lines = _agreement(sam, ours, images)
    for dtype, limit in ((torch.float32, 0.60), (torch.bfloat16, 0.57)):
        lines += _times(setting, sam, ours, images, dtype, limit)
    return lines


class _Encoder(nn.Module):
    """Our ViT with SAM's neck, as SAM's encoder has it."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.vit = StagedViT(architecture)
        self.neck = sam_neck(architecture.vit_width)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.vit.embed(images)
        for stage in range(NUM_STAGES):
            tokens = self.vit.global_block(stage, self.vit.windowed_blocks(stage, tokens))
        return self.neck(tokens.permute(0, 3, 1, 2))


def _pair(setting: Setting) -> tuple[nn.Module, nn.Module]:
    """Return SAM's encoder and ours with equal, frozen weights."""
    shape = setting.model(cnn="none").architecture
    per_stage = shape.vit_depth // NUM_STAGES
    sam = ImageEncoderViT(
        img_size=shape.image_size,
        embed_dim=shape.vit_width,
        depth=shape.vit_depth,
        num_heads=shape.vit_heads,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=shape.window_size,
        global_attn_indexes=range(per_stage - 1, shape.vit_depth, per_stage),
        out_chans=EMBED_DIM,
    )
    generator = torch.Generator().manual_seed(0)
    for name, parameter in sam.named_parameters():
        if parameter.ndim == 1 and not name.endswith("bias"):
            continue  # scales of norms
        std = (
            parameter[0].numel() ** -0.5 if parameter.ndim in (2, 4) and "pos" not in name else 0.1
        )
        parameter.data = torch.randn(parameter.shape, generator=generator) * std
    ours = _Encoder(shape)
    state = sam.state_dict()
    neck = {key[5:]: value for key, value in state.items() if key.startswith("neck.")}
    ours.neck.load_state_dict(neck)
    ours.vit.load_state_dict({k: v for k, v in state.items() if not k.startswith("neck.")})
    return tuple(m.requires_grad_(False).eval().to(setting.device) for m in (sam, ours))


def _agreement(sam: nn.Module, ours: nn.Module, images: Tensor) -> list[Line]:
    found = []
    for model in (sam, ours):
        one = images[:1].clone().requires_grad_()
        out = model(one)
        (out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).sum().backward()
        found.append((out.detach(), one.grad))
    differences = [_relative(b, a) for a, b in zip(*found, strict=True)]
    return [
        Line("encoder: relative difference of outputs", [differences[0]], "", 1e-5),
        Line("encoder: relative difference of gradients", [differences[1]], "", 1e-4),
    ]


def _relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@torch.no_grad()
def _times(
    setting: Setting,
    sam: nn.Module,
    ours: nn.Module,
    images: Tensor,
    dtype: torch.dtype,
    limit: float,
) -> list[Line]:
    def run(model: nn.Module) -> None:
        with setting.autocast(dtype):
            model(images)

    products = large_products(setting, dtype)
    seconds = in_turns(
        {"ours": lambda: run(ours), _SAM: lambda: run(sam)}
        | {product.name: product.work for product in products},
        setting.repeats,
    )
    name = f"encoder, {str(dtype).removeprefix('torch.')}"
    peak = [peak_rate(products, seconds)]
    rate = [operations(lambda: run(ours)) / value / 1e9 for value in seconds["ours"]]
    share = [max(rate) / peak[0]]
    goal = 0.75 if dtype == torch.float32 else None
    return [
        Line(f"{name}, batch {_BATCH}", seconds["ours"], "s", limit, False, seconds[_SAM], _SAM),
        Line(f"{name}: matrix products alone", rate, "GFLOP/s", None, False, peak, "peak"),
        Line(f"{name}: share of the peak", share, "", goal, at_least=True),
    ]
