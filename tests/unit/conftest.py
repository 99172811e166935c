from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.dicom_files import save_slice


@pytest.fixture
def dicom(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write a series of slices 2.5 mm apart whose file names say nothing about their order."""

    def write(voxels: np.ndarray, *, names: tuple[int, ...] | None = None) -> list[Path]:
        folder = tmp_path / "series"
        folder.mkdir(exist_ok=True)
        count = voxels.shape[2]
        order = names or tuple((7 * k + 3) % count for k in range(count))
        assert sorted(order) == list(range(count))
        return sorted(
            save_slice(
                folder / f"{order[k]:03d}",
                voxels[:, :, k].T + 1024,
                (-10.0, -20.0, 30.0 + 2.5 * k),
            )
            for k in range(count)
        )

    return write
