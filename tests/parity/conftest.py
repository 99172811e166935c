"""The golden files: weights that are a function of their names, inputs, and how far answers are
apart."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from syncsam_lightning.prompts import Prompts

GOLDEN = Path(__file__).parent / "golden"
Arrays = dict[str, torch.Tensor]


def _seeded_state_dict(shapes: Mapping[str, Sequence[int]]) -> Arrays:
    spec = importlib.util.spec_from_file_location("golden_seeding", GOLDEN / "seeding.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    arrays = module.seeded_state_dict(shapes)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def _relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def _golden_arrays(name: str) -> Arrays:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def _golden_shapes(name: str) -> dict[str, list[int]]:
    return json.loads((GOLDEN / f"{name}_keys.json").read_text())


@pytest.fixture(scope="session")
def seeded_state_dict() -> Callable[[Mapping[str, Sequence[int]]], Arrays]:
    """Draw each tensor from its name and shape."""
    return _seeded_state_dict


@pytest.fixture(scope="session")
def relative_error() -> Callable[[torch.Tensor, torch.Tensor], float]:
    """Return ‖found - expected‖ / ‖expected‖."""
    return _relative_error


@pytest.fixture(scope="session")
def golden_arrays() -> Callable[[str], Arrays]:
    """Read the arrays of a golden file."""
    return _golden_arrays


@pytest.fixture(scope="session")
def golden_shapes() -> Callable[[str], dict[str, list[int]]]:
    """Read the names and shapes of a state dict."""
    return _golden_shapes


@pytest.fixture(scope="session")
def golden_image(golden_arrays: Callable[[str], Arrays]) -> torch.Tensor:
    """Two images of 256 pixels, uint8, the input of all systems with RGB images."""
    return golden_arrays("syncsam34")["image"]


@pytest.fixture(scope="session")
def golden_prompts(golden_arrays: Callable[[str], Arrays]) -> Callable[..., Prompts]:
    """Return the prompts of some kinds for three objects on each image."""
    arrays = golden_arrays("syncsam34")

    def prompts(*kinds: str) -> Prompts:
        objects = {
            name: arrays[name].flatten(0, 1)
            for name in ("boxes", "point_coords", "point_labels", "mask_input")
        }
        return Prompts(
            image_index=torch.tensor([0, 0, 0, 1, 1, 1]),
            boxes=objects["boxes"] if "boxes" in kinds else None,
            points=objects["point_coords"] if "points" in kinds else None,
            point_labels=objects["point_labels"] if "points" in kinds else None,
            mask_logits=objects["mask_input"].squeeze(1) if "masks" in kinds else None,
        )

    return prompts
