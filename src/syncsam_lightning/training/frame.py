"""Whether a datamodule brings images as a network takes them."""

from __future__ import annotations

from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.models import PromptableModel


def check_frame(network: PromptableModel, datamodule: object) -> None:
    """Compare the images of a datamodule of ours with what a network takes.

    Raises:
        ValueError: they are of another size, or lie in it otherwise.
    """
    if not isinstance(datamodule, StreamingDataModule):
        return
    spec, name = network.input_spec, type(network).__name__
    for key, wanted in (("image_size", spec.size), ("image_fit", spec.fit)):
        if (found := getattr(datamodule, key)) != wanted:
            data = type(datamodule).__name__
            raise ValueError(
                f"{name} takes images with {key}={wanted!r}, but {data} has {key}={found!r}: "
                f"build {data} with {key}={wanted!r}"
            )
