"""Models as folders in the layout of the Hugging Face hub, on disk and on a hub."""

from __future__ import annotations

from syncsam_lightning.hub.card import ModelCard, TrainingNotes
from syncsam_lightning.hub.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    PretrainedModel,
    read_folder,
    write_folder,
)
from syncsam_lightning.hub.remote import (
    from_pretrained,
    is_repository,
    load_pretrained,
    push_to_hub,
)

__all__ = [
    "CARD",
    "CONFIG",
    "WEIGHTS",
    "ModelCard",
    "PretrainedModel",
    "TrainingNotes",
    "from_pretrained",
    "is_repository",
    "load_pretrained",
    "push_to_hub",
    "read_folder",
    "write_folder",
]
