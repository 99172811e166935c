from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GoldenFile:
    """Weights that are a function of their names, and arrays that another system computed."""

    state_dict: dict[str, torch.Tensor]
    arrays: dict[str, torch.Tensor]


def read_arrays(name: str) -> dict[str, torch.Tensor]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope="session")
def read_golden_arrays() -> Callable[[str], dict[str, torch.Tensor]]:
    """Read ``NAME.npz`` alone."""
    return read_arrays


@pytest.fixture(scope="session")
def read_golden() -> Callable[[str], GoldenFile]:
    """Read ``NAME.npz`` and fill the weights of ``NAME_keys.json``."""
    spec = importlib.util.spec_from_file_location("golden_seeding", FOLDER / "seeding.py")
    seeding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seeding)

    def read(name: str) -> GoldenFile:
        shapes = json.loads((FOLDER / f"{name}_keys.json").read_text())
        weights = seeding.seeded_state_dict(shapes)
        state_dict = {key: torch.from_numpy(np.asarray(value)) for key, value in weights.items()}
        return GoldenFile(state_dict, read_arrays(name))

    return read
