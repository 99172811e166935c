from __future__ import annotations

import os
import pickle
import re
import struct
from argparse import Namespace
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.weights.checkpoint_file import (
    read_checkpoint,
    read_state_dict,
    unwrap_state_dict,
)


class Trap:
    """Touches a file when unpickled by something that runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_tensors_come_back(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "w.pth")
    assert read_state_dict(tmp_path / "w.pth")["a"].tolist() == [0, 1, 2]


def test_the_old_file_format_is_read_too(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "w.pth")["a"].tolist() == [0, 1, 2]


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    path, proof = tmp_path / "w.pth", tmp_path / "ran"
    torch.save({"a": torch.zeros(1), "optimizer": Trap(proof)}, path)
    with pytest.raises(WeightsError, match=r"holds Python objects.*torch\.save\(model\.state_dict"):
        read_state_dict(path)
    assert not proof.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_optimizer_and_arguments_beside_the_weights_are_left_out(tmp_path, zipped):
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {"model": module.state_dict(), "optimizer": optimizer, "args": Namespace(lr=0.1)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)
    state = read_state_dict(tmp_path / "w.pth")
    assert state.keys() == {"weight", "bias"}
    assert torch.equal(state["weight"], module.weight)


def test_what_an_optimizer_hides_is_refused_and_not_run(tmp_path):
    path, proof = tmp_path / "w.pth", tmp_path / "ran"
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    optimizer.param_groups[0]["trap"] = Trap(proof)
    torch.save({"model": {"a": torch.zeros(1)}, "optimizer": optimizer}, path)
    with pytest.raises(WeightsError, match="holds Python objects"):
        read_state_dict(path)
    assert not proof.exists()


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_pickle_is_called_one_and_not_run(tmp_path, protocol, recwarn):
    path, proof = tmp_path / "w.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"a": Trap(proof)}, protocol))
    with pytest.raises(WeightsError, match=r"w\.pkl is a pickle, .* run code.*torch\.save\(model"):
        read_state_dict(path)
    assert not proof.exists()
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "means"), [("encoder.onnx", "OnnxModel"), ("e.pt2", "ProgramModel")]
)
def test_an_exported_program_is_called_one(tmp_path, name, means):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match=f"{name} is one of the programs .*{means}"):
        read_state_dict(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.pth"
    with pytest.raises(WeightsError, match=re.escape(f"{path} does not exist; give a checkpoint")):
        read_state_dict(path)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(WeightsError, match="is a folder, not a checkpoint"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint_is_named_with_a_remedy(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(f"{path} is not a PyTorch checkpoint")):
        read_state_dict(path)


def test_an_archive_that_says_it_has_other_disks_is_named_as_damaged(tmp_path):
    # Found by fuzzing: zipfile, asked whether it is an archive, raises.
    path = tmp_path / "w.pth"
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 5)
    path.write_bytes(locator + b"PK\x05\x06" + bytes(18))
    with pytest.raises(WeightsError, match=r"is damaged .*multiple disks"):
        read_state_dict(path)


def test_an_old_checkpoint_that_lacks_a_storage_is_named_as_damaged(tmp_path):
    # Found by fuzzing: torch asserts that the storage is there.
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    (key, *_) = re.findall(rb"\d{10,}", content)
    at = content.rindex(key)
    assert at > content.index(key)
    path.write_bytes(content[:at] + b"x" + content[at + 1 :])
    with pytest.raises(WeightsError, match=r"is damaged .*fetch or save it again"):
        read_state_dict(path)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_checkpoint_is_named_as_damaged(tmp_path, share):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"is damaged .*fetch or save it again"):
        read_state_dict(path)


@pytest.mark.parametrize("container", ["state_dict", "model", "model_state_dict"])
def test_a_state_dict_is_found_inside_a_training_checkpoint(container):
    tensor = torch.zeros(1)
    content = {"epoch": 3, container: {"a": tensor}}
    assert unwrap_state_dict(content, "x") == {"a": tensor}


@pytest.mark.parametrize("prefix", ["module.", "network.", "network._orig_mod.", "module.network."])
def test_names_of_wrappers_are_taken_off(prefix):
    tensor = torch.zeros(1)
    assert unwrap_state_dict({f"{prefix}a.b": tensor}, "x") == {"a.b": tensor}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "x holds no state dict, but an empty dict"),
        ([1], "x holds no state dict, but list"),
        ({"a": 3}, "x holds no state dict: 'a' is int, not a tensor"),
    ],
)
def test_what_holds_no_state_dict_is_described(content, sentence):
    with pytest.raises(WeightsError, match=re.escape(sentence)):
        unwrap_state_dict(content, "x")


NUMBERS = [
    np.float64(0.1),
    np.float32(0.5),
    np.float16(-2),
    np.int64(-3),
    np.uint8(200),
    np.bool_(True),
    np.complex64(1 + 2j),
    np.array(7, ">i4")[()],
]


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_beside_the_weights_are_plain_numbers(tmp_path, zipped):
    content = {"state_dict": {"a": torch.zeros(1)}, "best": NUMBERS}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)
    found = read_checkpoint(tmp_path / "w.pth")["best"]
    assert found == [number.item() for number in NUMBERS]
    assert {type(number) for number in found} == {float, int, bool, complex}


@pytest.mark.parametrize("other", [np.str_("text"), np.datetime64("2020-01-01"), np.arange(3)])
def test_what_is_no_number_of_numpy_is_still_refused(tmp_path, other):
    torch.save({"a": torch.zeros(1), "other": other}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds Python objects besides tensors"):
        read_checkpoint(tmp_path / "w.pth")
