"""Random changes of training images, as a pure function of a key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

AugmentationConfig = Sequence[Mapping[str, Any]]


class Augmentation:
    """A configured chain of albumentations transforms, a pure function of its input and a key.

    Args:
        config: transforms in order, each ``{"name": "HorizontalFlip", "p": 0.5, ...}`` with the
            arguments of the albumentations class of that name. They must keep the image size.

    Raises:
        ValueError: a transform does not exist, or its arguments are wrong.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        # Albumentations asks the network for its newest version on import unless told not to. It
        # takes seconds to import, which those who configure no augmentation shall not wait for.
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        import albumentations as A

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
