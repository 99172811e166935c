"""What a SyncSAM is made of, and which combinations make sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from syncsam_lightning.models.vit import ViTShape

CNNName = Literal["none", "resnet18", "resnet34", "resnet50"]
ViTMode = Literal["frozen", "trained", "none"]
Fusion = Literal["synchronized", "single_step"]
FrozenPart = Literal["cnn", "prompt_encoder", "decoder"]
RecomputedPart = Literal["vit", "cnn", "decoder"]

EMBED_DIM = 256  # width of SAM's image embedding and prompt tokens
MASK_DIM = 32  # channels of the S/4 map that a mask token is multiplied with
# A CNN halves the image five times; an odd size on the way would not meet the ViT's grid again.
CNN_STRIDE = 32


@dataclass(frozen=True, slots=True)
class Architecture(ViTShape):
    """The choices that define a SyncSAM; see :class:`syncsam_lightning.models.SyncSAM`.

    Raises:
        ValueError: a value is unknown or out of range, or two arguments make each other
            meaningless; the message names both.
    """

    cnn: CNNName = "resnet34"
    vit: ViTMode = "frozen"
    fusion: Fusion = "synchronized"
    med_token: bool = True
    multi_scale: bool = True
    frozen: Sequence[FrozenPart] = ("decoder",)
    recompute: Sequence[RecomputedPart] = ()

    def __post_init__(self) -> None:
        _check_choice("cnn", self.cnn, get_args(CNNName))
        _check_choice("vit", self.vit, get_args(ViTMode))
        _check_choice("fusion", self.fusion, get_args(Fusion))
        self._check_parts("frozen", get_args(FrozenPart))
        self._check_parts("recompute", get_args(RecomputedPart))
        ViTShape.__post_init__(self)  # a bare super() doesn't work in a class with slots
        self._check_combinations()

    def _check_parts(self, name: str, choices: tuple[str, ...]) -> None:
        parts = getattr(self, name)
        if isinstance(parts, str):
            raise ValueError(f"{name} must be a list of parts, got the text {parts!r}")
        object.__setattr__(self, name, tuple(parts))
        for part in parts:
            _check_choice(name, part, choices)

    def _check_combinations(self) -> None:
        if self.has_cnn and self.image_size % CNN_STRIDE:
            raise ValueError(
                f"image_size={self.image_size} does not fit cnn={self.cnn!r}, which halves the "
                f"image five times: use a multiple of {CNN_STRIDE}, or cnn='none'"
            )
        if not self.has_vit and not self.has_cnn:
            raise ValueError("vit='none' and cnn='none' leave no image encoder; keep one of them")
        if self.fusion == "single_step" and not self.has_cnn:
            raise ValueError("fusion='single_step' has nothing to fuse with cnn='none'")
        if self.fusion == "single_step" and not self.has_vit:
            raise ValueError("fusion='single_step' has nothing to fuse into with vit='none'")
        if "cnn" in self.frozen and not self.has_cnn:
            raise ValueError("frozen names 'cnn', but cnn='none'")
        for part, there in (("cnn", self.has_cnn), ("vit", self.has_vit)):
            if part in self.recompute and not there:
                raise ValueError(f"recompute names {part!r}, but {part}='none'")

    @property
    def has_cnn(self) -> bool:
        """Whether there is a CNN branch."""
        return self.cnn != "none"

    @property
    def has_vit(self) -> bool:
        """Whether there is a ViT branch."""
        return self.vit != "none"

    @property
    def mask_size(self) -> int:
        """Side of the mask logits, S / 4."""
        return self.image_size // 4


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: unknown value {value!r}; choose from {', '.join(choices)}")
