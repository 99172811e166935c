"""Where a result is from: model, weights, data, settings and package versions."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.models import PromptableModel, frozen_checksum, weights_checksum
from syncsam_lightning.whole_files import whole_file

RUN_RECORD = "run.json"
_PACKAGES = ("syncsam-lightning", "torch", "torchvision", "lightning", "numpy", "pylance")


def write_run_record(
    folder: Path, trainer: Trainer, model: PromptableModel, evaluator: Evaluator
) -> None:
    """Write ``run.json``: all that is needed to say what a result is the result of.

    Args:
        folder: of the results.
        trainer: that ran the test.
        model: that was tested.
        evaluator: what was measured.
    """
    unsupported = evaluator.unsupported(model)
    record = {
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "image_size": model.input_spec.size,
        "weights_sha256": weights_checksum(model),
        "frozen_sha256": frozen_checksum(model) or None,
        "checkpoint": _checkpoint(trainer.ckpt_path),
        "protocols": [asdict(protocol) for protocol in evaluator.protocols],
        "unsupported_protocols": [protocol.name for protocol in unsupported],
        "seeds": list(evaluator.seeds),
        "global_seed": _global_seed(),
        "training_seed": _training_seed(trainer),
        "surface_tolerance": None if evaluator.surface is None else evaluator.surface.tolerance,
        "replayed_prompts": None if evaluator.replay is None else _file(evaluator.replay.path),
        "data": _data(getattr(trainer, "datamodule", None)),
        "precision": str(trainer.precision),
        "device": trainer.strategy.root_device.type,
        "world_size": trainer.world_size,
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in _PACKAGES},
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    with whole_file(folder / RUN_RECORD) as file:
        file.write(text.encode())


def _global_seed() -> int | None:
    """Return what ``seed_everything`` was called with, by the program or a script."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return None if seed is None else int(seed)


def _training_seed(trainer: Trainer) -> Mapping[str, int]:
    """Return the seeds of the episodes, of order, masks and augmentation, and of the split."""
    datamodule = getattr(trainer, "datamodule", None)
    owners: dict[str, Any] = {
        "model": trainer.lightning_module,
        "data": datamodule,
        "split": getattr(datamodule, "split_rule", None),
    }
    return {name: int(owner.seed) for name, owner in owners.items() if hasattr(owner, "seed")}


def _checkpoint(path: Any) -> Mapping[str, str] | None:
    """Return name and hash of a checkpoint; one that is no local file goes by its name alone."""
    if not path:
        return None
    return _file(Path(path)) if Path(path).is_file() else {"path": str(path)}


def _file(path: Path) -> Mapping[str, str]:
    with path.open("rb") as file:
        return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _data(datamodule: Any) -> Mapping[str, Any] | None:
    """Return class, tables with their versions, and the number of test images."""
    if datamodule is None:
        return None
    tables = datamodule.tables() if isinstance(datamodule, StreamingDataModule) else []
    return {
        "class": type(datamodule).__name__,
        "tables": [
            {
                "place": str(table),
                "version": table.opened.version,
                "settings": table.settings,
            }
            for table in tables
        ],
        "test_images": datamodule.num_rows("test") if hasattr(datamodule, "num_rows") else None,
    }
