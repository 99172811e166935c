"""What is read from a checkpoint is never executed, wherever it lies."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.training.checkpoint import AtomicCheckpointIO, LoadedAsValues


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class QuietServer(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the files of the temporary folder are served."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    handler = partial(QuietServer, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_checkpoint_at_an_address_is_not_executed(tmp_path: Path, address: str):
    torch.save({"state_dict": Touch(tmp_path / "executed")}, tmp_path / "evil.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(f"{address}/evil.ckpt")
    assert not (tmp_path / "executed").exists()


def test_plain_values_at_an_address_are_read(tmp_path: Path, address: str):
    torch.save({"global_step": 3, "state_dict": {"a": torch.ones(2)}}, tmp_path / "plain.ckpt")
    loaded = AtomicCheckpointIO().load_checkpoint(f"{address}/plain.ckpt")
    assert loaded["global_step"] == 3
    assert torch.equal(loaded["state_dict"]["a"], torch.ones(2))


class OneNumber(LoadedAsValues, LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize("served", [False, True])
def test_a_module_is_loaded_from_a_file_that_holds_numbers_of_numpy(
    tmp_path: Path, address: str, served: bool
):
    content = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": {"number": torch.ones(1)},
        "callbacks": {"of one's own": {"best": np.float64(0.5)}},
    }
    torch.save(content, tmp_path / "a.ckpt")
    place = f"{address}/a.ckpt" if served else tmp_path / "a.ckpt"
    assert OneNumber.load_from_checkpoint(place).number.item() == 1
    content["hyper_parameters"] = {"_instantiator": "builtins.print"}
    torch.save(content, tmp_path / "b.ckpt")
    place = f"{address}/b.ckpt" if served else tmp_path / "b.ckpt"
    with pytest.raises(WeightsError, match="names a function to be called"):
        OneNumber.load_from_checkpoint(place)
