"""Prepared tables, and the datamodules that stream them.

What a plugin needs: :class:`PromptableDataModule`, :func:`read_image` and :func:`read_mask`. Names
are resolved on first use, so that importing one of them does not import Lightning for all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
    from syncsam_lightning.data.datamodule import PromptableDataModule
    from syncsam_lightning.data.readers import read_image, read_mask

_HOMES = {
    "ImageBatch": "batch",
    "ImageInfo": "batch",
    "ObjectInfo": "batch",
    "PromptableDataModule": "datamodule",
    "read_image": "readers",
    "read_mask": "readers",
}

__all__ = [
    "ImageBatch",
    "ImageInfo",
    "ObjectInfo",
    "PromptableDataModule",
    "read_image",
    "read_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
