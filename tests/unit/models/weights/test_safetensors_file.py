"""Files of safetensors come back as they were; others are refused."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
import torch

from syncsam_lightning.errors import MissingPackageError, WeightsError
from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
from syncsam_lightning.models.weights.safetensors_file import read_safetensors, write_safetensors

TENSORS = {
    "whole": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    "half": torch.tensor([1.5, float("nan")], dtype=torch.float16),
    "number": torch.tensor(7),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pytest.importorskip("safetensors")
    write_safetensors(TENSORS, tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def test_tensors_come_back_with_their_names_types_and_shapes(path: Path):
    for read in (read_safetensors, read_state_dict):
        found = read(path)
        assert found.keys() == TENSORS.keys()
        for key, tensor in TENSORS.items():
            assert found[key].dtype == tensor.dtype
            assert torch.equal(found[key].nan_to_num(9), tensor.nan_to_num(9))


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_rights_are_those_of_any_new_file(path: Path, umask: int):
    path.unlink()
    before = os.umask(umask)
    try:
        write_safetensors(TENSORS, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 64, None])
def test_what_is_no_such_file_is_refused(path: Path, content: bytes | None):
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(WeightsError, match=r"w\.safetensors is not a safetensors file"):
        read_safetensors(path)


def test_a_pickle_of_this_name_is_not_unpickled(path: Path):
    torch.save({"w": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="is not a safetensors file"):
        read_state_dict(path)


def test_the_package_that_is_missing_is_named(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'syncsam-lightning\[hub\]'"):
        read_safetensors(path)
