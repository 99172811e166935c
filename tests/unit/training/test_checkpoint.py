"""What is read from a checkpoint is never executed, wherever it lies."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from syncsam_lightning.training.checkpoint import AtomicCheckpointIO


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
