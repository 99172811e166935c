"""The contract of every model here: encode an image once, decode any number of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.geometry import Fit, ResizePlan
from syncsam_lightning.models.layout import OWN, Layout
from syncsam_lightning.prompts import MixedPrompts, Prompts

_COMPILED = ("encode", "decode", "decode_scored")

# Each kind of prompt has a program of its own, with and without gradients, for one object and for
# several. Past torch's default of 8 the rest would run uncompiled, with no more than a log line.
_PROGRAMS = 64

Feedback = Literal["logits", "sigmoid"]
"""How a model gets its low-resolution answer back as a mask prompt: ``"logits"`` as it is (SAM), or
through a ``"sigmoid"`` as probabilities (SAM-Med2D)."""


LARGEST_SIDE = 8192
"""Of a model's square, in pixels. Every image is resized to it, and a file of settings names it."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model takes.

    Args:
        size: side S of the square input in pixels, at most :data:`LARGEST_SIDE`.
        prompts: the prompt kinds it understands, out of ``boxes``, ``points``, ``masks``.
        mask_size: side of the mask logits it returns and takes, usually S / 4.
        fit: how an image lies in the square.
        feedback: how it expects its own answers back.

    Raises:
        ValueError: the size is out of range.
    """

    size: int
    prompts: frozenset[str]
    mask_size: int
    fit: Fit = "pad"
    feedback: Feedback = "logits"

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST_SIDE:
            raise ValueError(f"image_size must be from 1 to {LARGEST_SIDE:,}, got {self.size:,}")

    def plan(self, height: int, width: int) -> ResizePlan:
        """Return how an image of this size in pixels lies in the model's square."""
        return ResizePlan(height, width, self.size, self.fit)


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What ``encode`` returns and ``decode`` takes, computed once per image.

    Args:
        embedding: ``(B, C, S/16, S/16)``; of a model without an image encoder the normalised
            image itself, ``(B, C, S, S)``.
        multi_scale: ``(B, 32, S/4, S/4)`` for models that have a multi-scale branch, else None.
    """

    embedding: Tensor
    multi_scale: Tensor | None = None

    def detach(self) -> ImageFeatures:
        """Return the same features outside the autograd graph."""
        return ImageFeatures(
            self.embedding.detach(),
            None if self.multi_scale is None else self.multi_scale.detach(),
        )

    @staticmethod
    def joined(parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """Return the features of one model's images, of all parts in their order.

        Args:
            parts: at least one.
        """
        multi_scale = [part.multi_scale for part in parts if part.multi_scale is not None]
        return ImageFeatures(
            torch.cat([part.embedding for part in parts]),
            torch.cat(multi_scale) if multi_scale else None,
        )


@dataclass(frozen=True, slots=True)
class ScoredMasks:
    """One mask per object and, from models that say so, how good they expect it to be.

    Args:
        logits: ``(N, S/4, S/4)`` as :meth:`PromptableModel.decode` gives them.
        predicted_iou: ``(N,)`` float, or None.
    """

    logits: Tensor
    predicted_iou: Tensor | None = None

    def tied_logits(self) -> Tensor:
        """Return the logits, plus nothing that depends on the predicted IoU.

        In training a loss of the masks alone then gives the head of the scores a gradient too, of
        zero; DistributedDataParallel waits for it.
        """
        if self.predicted_iou is None or not torch.is_grad_enabled():
            return self.logits
        return self.logits + 0.0 * self.predicted_iou[:, None, None]


class PromptableModel(nn.Module, ABC):
    """A segmentation model that is told by prompts what to segment.

    Subclasses set :attr:`input_spec` and implement :meth:`encode` and :meth:`decode`; they list the
    submodules that are never trained in :attr:`frozen_modules` by calling :meth:`freeze`.
    """

    image_fit: ClassVar[Fit] = "pad"
    """How images lie in the square; ``input_spec.fit`` of every instance. Of the class, since the
    program has to know it before it builds anything."""

    layouts: ClassVar[Sequence[Layout]] = (OWN,)
    """The layouts of checkpoints that :func:`~syncsam_lightning.models.load_weights` knows for it,
    the model's own last."""

    begins_with_sam: ClassVar[bool] = False
    """Whether training begins with SAM's ViT-B weights, one of :attr:`layouts`."""

    input_spec: InputSpec

    built_with: tuple[tuple[Any, ...], dict[str, Any]]
    """The positional and keyword arguments of the call that built it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the arguments, from which the model can be built again elsewhere."""
        model = super().__new__(cls)
        model.__dict__["built_with"] = (args, kwargs)
        return model

    def __init__(self) -> None:
        super().__init__()
        self._frozen_names: list[str] = []

    @abstractmethod
    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """Compute the features of a batch of images.

        Args:
            images: ``(B, 3, S, S)`` RGB in 0..255, uint8 or float, already resized and padded;
                normalised inside.
            sizes: ``(B, 2)`` int64, height and width of the image part of each square, which lies
                where :attr:`image_fit` puts it. What lies outside is set to zero after
                normalisation. None: the images fill the square.

        Raises:
            ValueError: the images are not ``(B, 3, S, S)``, or ``sizes`` is not ``(B, 2)``.
        """

    @abstractmethod
    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """Predict one mask per object.

        Args:
            features: of B images.
            prompts: of N objects on these images.

        Returns:
            ``(N, s, s)`` float mask logits, s being :attr:`InputSpec.mask_size` (usually S / 4);
            positive is foreground.

        Raises:
            UnsupportedPromptError: the model does not understand a kind of prompt it was given, or
                was given none.
        """

    def decode_scored(self, features: ImageFeatures, prompts: Prompts) -> ScoredMasks:
        """Predict as :meth:`decode` does, with the IoU that the model expects if it expects one."""
        return ScoredMasks(self.decode(features, prompts))

    @property
    def imagenet_part(self) -> str | None:
        """Dotted name of the torchvision ResNet that may begin with ImageNet weights, or None.

        Its attribute ``name`` says which one it is: ``resnet18``, ``resnet34`` or ``resnet50``.
        """
        return None

    def check_images(self, images: Tensor, sizes: Tensor | None) -> None:
        """Raise ``ValueError`` unless these are images and sizes as :meth:`encode` takes them."""
        side = self.input_spec.size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(
                f"images must be (B, 3, {side}, {side}), resized and padded to the model's "
                f"image_size of {side}; got {tuple(images.shape)}"
            )
        if sizes is not None and sizes.shape != (images.shape[0], 2):
            raise ValueError(
                f"sizes must be ({images.shape[0]}, 2), height and width of each image; "
                f"got {tuple(sizes.shape)}"
            )

    def compile_parts(self, **options: Any) -> None:
        """Let ``torch.compile`` compile encoding and decoding, each when first called.

        These are :meth:`encode`, :meth:`decode` and, for training, :meth:`decode_scored`.

        Numbers of images, objects and points may vary: they become variables of the program when
        they first change. The process-wide limit of programs for one function is raised.

        Names of parameters, and so checkpoints, stay what they were. Copies of the model, and what
        is pickled of it, are not compiled.

        Args:
            options: of ``torch.compile``.
        """
        limits = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, _PROGRAMS)
        for name in _COMPILED:
            method = getattr(type(self), name).__get__(self)
            self.__dict__[name] = torch.compile(method, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is compiled: it belongs to this very object."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {name: value for name, value in state.items() if name not in _COMPILED}

    def check_prompts(self, prompts: Prompts) -> None:
        """Raise :class:`UnsupportedPromptError` if the model can't use ``prompts``.

        Of mixed prompts only the values say what they are, and these are not looked at.
        """
        if isinstance(prompts, MixedPrompts):
            return
        name, known = type(self).__name__, ", ".join(sorted(self.input_spec.prompts))
        if unknown := prompts.kinds - self.input_spec.prompts:
            raise UnsupportedPromptError(
                f"{name} does not take {', '.join(sorted(unknown))} as prompts; it takes {known}"
            )
        if not prompts.kinds:
            raise UnsupportedPromptError(f"{name} was given no prompt; it takes {known}")

    def freeze(self, names: Iterable[str]) -> None:
        """Exclude submodules from training for good.

        Their parameters get no gradient and they stay in eval mode (so that BatchNorm statistics
        and dropout don't move) whatever :meth:`train` is told.

        Args:
            names: dotted names of submodules, or of single parameters.
        """
        self._frozen_names.extend(names)
        for module in self.frozen_modules:
            module.requires_grad_(False)
            module.eval()
        parameters = dict(self.named_parameters())
        for name in self._frozen_names:
            if name in parameters:
                parameters[name].requires_grad_(False)

    @property
    def frozen_modules(self) -> list[nn.Module]:
        """The submodules that are never trained."""
        parameters = dict(self.named_parameters())
        return [self.get_submodule(name) for name in self._frozen_names if name not in parameters]

    def frozen_keys(self) -> frozenset[str]:
        """Names in ``state_dict()`` (parameters and buffers) that training never changes."""
        names = frozenset(self._frozen_names)
        prefixes = tuple(f"{name}." for name in names)
        return frozenset(
            key for key in self.state_dict() if key in names or key.startswith(prefixes)
        )

    def train(self, mode: bool = True) -> PromptableModel:
        """Set training mode, leaving the frozen submodules in eval mode."""
        super().train(mode)
        for module in self.frozen_modules:
            module.eval()
        return self
