from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from syncsam_datamodules.imed361m.labels import SparseLabels
from syncsam_datamodules.imed361m.pseudo import pseudo_instances
from syncsam_datamodules.imed361m.rules import ChannelNames

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError

HEIGHT, WIDTH = 6, 9


def dense_label() -> np.ndarray:
    """Three channels: a rectangle, nothing, one pixel in the last corner."""
    dense = np.zeros((3, HEIGHT, WIDTH), dtype=np.int32)
    dense[0, 1:4, 2:5] = 1
    dense[2, -1, -1] = 1
    return dense


def write_label(path: Path, dense: np.ndarray) -> None:
    with path.open("wb") as file:
        sparse.save_npz(file, sparse.csr_matrix(dense.reshape(len(dense), -1)))


def load(path: Path) -> SparseLabels:
    return SparseLabels.load(path.read_bytes(), str(path))


def test_a_stored_zero_is_background(tmp_path: Path):
    path = tmp_path / "x.(2, 1, 3).npz"
    matrix = sparse.csr_matrix(np.array([[1, 1, 1], [0, 1, 0]]))
    matrix.data[[1, 3]] = 0
    with path.open("wb") as file:
        sparse.save_npz(file, matrix)
    (mask,) = load(path).masks(ChannelNames({0: "a", 1: "b"}), "")
    assert mask.label == "a"
    np.testing.assert_array_equal(resolve_mask(mask.mask, ""), [[True, False, True]])


@pytest.mark.parametrize(
    "stem",
    ["x___v1.2(b).(3, 6, 9, 1)", "x.(3,6,9,1)", "x (3, 6, 9)", "x.(1, 1, 1, 1).(3, 6, 9, 1)"],
)
def test_the_shape_is_the_last_group_in_parentheses(tmp_path: Path, stem: str):
    path = tmp_path / f"{stem}.npz"
    write_label(path, dense_label())
    assert load(path).shape == (3, 6, 9)


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("x___a", "its name does not end with (CHANNELS, HEIGHT, WIDTH, 1)"),
        ("x___a.(3, 6, 9, 2)", "its name does not end with"),
        ("x___a.(3, 54)", "its name does not end with"),
        ("x___a.(3, 0, 9, 1)", "its name does not end with"),
        ("x___a.(3, -6, 9, 1)", "its name does not end with"),
        ("x___a.(__import__('os'), 6, 9, 1)", "its name does not end with"),
        ("x___a.(3, 9, 7, 1)", "its shape [3, 54] does not agree with (3, 9, 7) in its name"),
        ("x___a.(3, 100000, 100000, 1)", "larger than any image"),
    ],
)
def test_a_label_with_a_wrong_shape_in_its_name_is_refused(tmp_path: Path, stem: str, reason: str):
    path = tmp_path / f"{stem}.npz"
    write_label(path, dense_label())
    with pytest.raises(BrokenInputError) as error:
        load(path)
    assert error.value.path == str(path)
    assert reason in error.value.reason


def npz(path: Path, **members: Any) -> Path:
    """Write a label of shape (2, 1, 3), with some of its members replaced or, by None, left out."""
    parts = {
        "format": np.array(b"csr"),
        "shape": np.array([2, 3]),
        "indptr": np.array([0, 1, 2]),
        "indices": np.array([0, 2]),
        "data": np.array([1, 1]),
    } | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in parts.items():
            if value is not None:
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, value, allow_pickle=True)
                archive.writestr(f"{name}.npy", buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"indices": np.array([0, 3])}, "an index lies outside the image"),
        ({"indices": np.array([-1, 2])}, "an index lies outside the image"),
        ({"indices": np.array([0])}, "indices has shape (1,) instead of (2,)"),
        ({"indptr": np.array([0, 2, 1])}, "index pointers are out of order"),
        ({"indptr": np.array([1, 1, 2])}, "index pointers are out of order"),
        ({"indptr": np.array([0, 1, 1 << 40])}, "index pointers are out of order"),
        ({"indptr": np.array([0, 2])}, "indptr has shape (2,) instead of (3,)"),
        ({"format": np.array(b"csc")}, "its format is not CSR"),
        ({"shape": np.array([2, 4])}, "does not agree with"),
        ({"data": np.array([1, "x"], dtype=object)}, "Python objects, which are never restored"),
        ({"indices": np.array([0.0, 1.0])}, "indices holds float64, not plain numbers"),
        ({"data": None}, "There is no item named 'data.npy'"),
    ],
)
def test_a_damaged_label_is_refused_with_its_reason(
    tmp_path: Path, members: dict[str, Any], reason: str
):
    path = npz(tmp_path / "x.(2, 1, 3, 1).npz", **members)
    with pytest.raises(BrokenInputError) as error:
        load(path)
    assert error.value.path == str(path)
    assert reason in error.value.reason


def test_the_undamaged_label_of_that_test_is_read(tmp_path: Path):
    labels = load(npz(tmp_path / "x.(2, 1, 3, 1).npz"))
    drawn = [resolve_mask(mask.mask, "").tolist() for mask in labels.masks(ChannelNames({}), "")]
    assert drawn == [[[True, False, False]], [[False, False, True]]]
    assert [mask.label for mask in labels.masks(ChannelNames({}), "")] == [
        "class_0001",
        "class_0002",
    ]


def test_a_header_that_declares_too_much_is_refused_before_it_is_allocated(tmp_path: Path):
    path = npz(tmp_path / "x.(2, 1, 3, 1).npz", data=None)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 44,)}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data.npy", header.getvalue())
    with pytest.raises(BrokenInputError, match="data has shape"):
        load(path)


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_nothing_is_unpickled(tmp_path: Path):
    mark = tmp_path / "mark"
    bomb = np.array([Bomb(mark)], dtype=object)
    label = npz(tmp_path / "x.(2, 1, 3, 1).npz", shape=bomb)
    region, plain = tmp_path / "r.npy", tmp_path / "p.npy"
    np.save(region, bomb, allow_pickle=True)
    plain.write_bytes(pickle.dumps(Bomb(mark)))
    for read, path in (
        (SparseLabels.load, label),
        (pseudo_instances, region),
        (pseudo_instances, plain),
    ):
        with pytest.raises(BrokenInputError) as error:
            read(path.read_bytes(), str(path))
        assert error.value.path == str(path)
    assert not mark.exists()
