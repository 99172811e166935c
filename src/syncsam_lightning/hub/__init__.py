"""Models as folders in the layout of the Hugging Face hub, on disk and on a hub."""

from __future__ import annotations

from syncsam_lightning.hub.card import ModelCard, TrainingNotes
from syncsam_lightning.hub.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    PretrainedModel,
    read_config,
    read_folder,
    write_folder,
)
from syncsam_lightning.hub.remote import (
    check_repository,
    find_checkpoint,
    find_folder,
    find_weights,
    from_pretrained,
    holds_its_settings,
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
    "check_repository",
    "find_checkpoint",
    "find_folder",
    "find_weights",
    "from_pretrained",
    "holds_its_settings",
    "load_pretrained",
    "push_to_hub",
    "read_config",
    "read_folder",
    "write_folder",
]
