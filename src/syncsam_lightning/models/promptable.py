"""The contract of every model here: encode an image once, decode any number of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.geometry import Fit, ResizePlan
from syncsam_lightning.prompts import Prompts


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model takes.

    Args:
        size: side S of the square input in pixels.
        prompts: the prompt kinds it understands, out of ``boxes``, ``points``, ``masks``.
        mask_size: side of the mask logits it returns and takes, usually S / 4.
        fit: how an image lies in the square.
    """

    size: int
    prompts: frozenset[str]
    mask_size: int
    fit: Fit = "pad"

    def plan(self, height: int, width: int) -> ResizePlan:
        """Return how an image of this size in pixels lies in the model's square."""
        return ResizePlan(height, width, self.size, self.fit)


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What ``encode`` returns and ``decode`` takes, computed once per image.

    Args:
        embedding: ``(B, C, S/16, S/16)``.
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


class PromptableModel(nn.Module, ABC):
    """A segmentation model that is told by prompts what to segment.

    Subclasses set :attr:`input_spec` and implement :meth:`encode` and :meth:`decode`; they list the
    submodules that are never trained in :attr:`frozen_modules` by calling :meth:`freeze`.
    """

    image_fit: ClassVar[Fit] = "pad"
    """How images lie in the square; ``input_spec.fit`` of every instance. Of the class, since the
    program has to know it before it builds anything."""

    input_spec: InputSpec

    def __init__(self) -> None:
        super().__init__()
        self._frozen_names: list[str] = []

    @abstractmethod
    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """Compute the features of a batch of images.

        Args:
            images: ``(B, 3, S, S)`` RGB in 0..255, uint8 or float, already resized and padded;
                normalised inside.
            sizes: ``(B, 2)`` int64, height and width of the image part of each square. What lies
                outside is set to zero after normalisation. None: the images fill the square.
        """

    @abstractmethod
    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """Predict one mask per object.

        Args:
            features: of B images.
            prompts: of N objects on these images.

        Returns:
            ``(N, S/4, S/4)`` float mask logits; positive is foreground.

        Raises:
            UnsupportedPromptError: the model does not understand a kind of prompt it was given, or
                was given none.
        """

    def check_prompts(self, prompts: Prompts) -> None:
        """Raise :class:`UnsupportedPromptError` if the model can't use ``prompts``."""
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
            names: dotted names of submodules.
        """
        self._frozen_names.extend(names)
        for module in self.frozen_modules:
            module.requires_grad_(False)
            module.eval()

    @property
    def frozen_modules(self) -> list[nn.Module]:
        """The submodules that are never trained."""
        return [self.get_submodule(name) for name in self._frozen_names]

    def frozen_keys(self) -> frozenset[str]:
        """Names in ``state_dict()`` (parameters and buffers) that training never changes."""
        prefixes = tuple(f"{name}." for name in self._frozen_names)
        return (
            frozenset(key for key in self.state_dict() if key.startswith(prefixes))
            if (prefixes)
            else frozenset()
        )

    def train(self, mode: bool = True) -> PromptableModel:
        """Set training mode, leaving the frozen submodules in eval mode."""
        super().train(mode)
        for module in self.frozen_modules:
            module.eval()
        return self
