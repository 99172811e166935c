"""From stored pixels to the model's padded square, with augmentation on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from syncsam_lightning.geometry import ResizePlan

# Albumentations asks the network for its newest version on import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

AugmentationConfig = Sequence[Mapping[str, Any]]


@lru_cache(maxsize=256)
def _resize(height: int, width: int, shrinks: bool) -> A.Resize:
    return A.Resize(
        height,
        width,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        p=1.0,
    )


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize ``(h, w, c)`` uint8: by area where it shrinks, bilinear where it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    resized: np.ndarray = _resize(height, width, shrinks)(image=image)["image"]
    return resized.reshape(height, width, image.shape[2])


def resize_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize ``(n, h, w)`` bool masks, nearest neighbour.

    An object too small to be hit by any sampled pixel keeps the pixels that it touches, so that no
    mask with foreground comes out empty.
    """
    if masks.shape[1:] == (height, width):
        return masks
    out = np.zeros((len(masks), height, width), bool)
    resize = _resize(height, width, False)
    for target, mask in zip(out, masks, strict=True):
        target[:] = resize(image=mask.view(np.uint8), mask=mask.view(np.uint8))["mask"]
        if not target.any():
            rows, columns = np.nonzero(mask)
            target[rows * height // mask.shape[0], columns * width // mask.shape[1]] = True
    return out


def fit_image(image: np.ndarray, plan: ResizePlan) -> np.ndarray:
    """Return ``(h', w', c)``: an image at the size it has inside the model's square."""
    return resize_image(image, *plan.resized)


def put_into(square: np.ndarray, pixels: np.ndarray, plan: ResizePlan) -> None:
    """Write ``(..., h, w)`` pixels to their place in ``(..., S, S)``, and zeros elsewhere."""
    (top, left), (height, width) = plan.origin, plan.resized
    bottom, right = top + height, left + width
    square[..., top:bottom, left:right] = pixels
    square[..., :top, :] = 0
    square[..., bottom:, :] = 0
    square[..., top:bottom, :left] = 0
    square[..., top:bottom, right:] = 0


class Augmentation:
    """A configured chain of albumentations transforms, a pure function of its input and a key.

    Args:
        config: transforms in order, each ``{"name": "HorizontalFlip", "p": 0.5, ...}`` with the
            arguments of the albumentations class of that name. They must keep the image size.

    Raises:
        ValueError: a transform does not exist, or its arguments are wrong.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        transforms = []
        for entry in config:
            arguments = dict(entry)
            name = arguments.pop("name", None)
            cls = getattr(A, str(name), None)
            if not (isinstance(cls, type) and issubclass(cls, A.BasicTransform)):
                raise ValueError(
                    f"augmentation {name!r} is no albumentations transform; "
                    "each entry needs a name, such as HorizontalFlip or RandomBrightnessContrast"
                )
            try:
                transforms.append(cls(**arguments))
            except (TypeError, ValueError) as error:
                raise ValueError(f"augmentation {name}: {error}") from error
        self._compose = A.Compose(transforms)

    def __call__(
        self, image: np.ndarray, masks: np.ndarray, *, key: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Transform an image and its masks alike.

        Args:
            image: ``(h, w, c)`` uint8.
            masks: ``(n, h, w)`` bool.
            key: seeds the transforms.

        Raises:
            ValueError: a transform changed the size of the image.
        """
        self._compose.set_random_seed(key % (1 << 32))
        shape = image.shape
        # Colour transforms want three channels; grey comes back as the first of them.
        colour = np.repeat(image, 3, axis=2) if shape[2] == 1 else image
        out = self._compose(image=colour, masks=[mask.view(np.uint8) for mask in masks])
        changed: np.ndarray = out["image"]
        if changed.shape[:2] != shape[:2]:
            raise ValueError(
                f"augmentation turned {shape[:2]} pixels into {changed.shape[:2]}: "
                "use transforms that keep the size"
            )
        return changed, np.stack([np.asarray(mask) != 0 for mask in out["masks"]])
