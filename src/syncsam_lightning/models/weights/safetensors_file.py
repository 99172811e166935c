"""Files of the ``safetensors`` format, which hold tensors and nothing that could run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from syncsam_lightning.errors import MissingPackageError, WeightsError

SUFFIX = ".safetensors"
"""By which a file of this format is known."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, on the CPU.

    Raises:
        WeightsError: the file can't be read, is damaged, or has another format.
        MissingPackageError: ``safetensors`` is not installed.
    """
    package = _package()
    try:
        tensors: dict[str, Tensor] = package.torch.load_file(path)
    except (package.SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a safetensors file, or is damaged ({_one_line(error)}); fetch or "
            "write it again"
        ) from error
    return tensors


def write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors, wherever they are, to a file; one that is there is overwritten.

    The file has the rights that any new one gets here, by the process's umask.

    Raises:
        OSError: the file can't be written.
        MissingPackageError: ``safetensors`` is not installed.
    """
    package = _package()
    on_cpu = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    path.touch()
    rights = path.stat().st_mode
    try:
        # The hub's programs ask this entry which framework the tensors are of.
        package.torch.save_file(on_cpu, path, metadata={"format": "pt"})
        path.chmod(rights)  # the package makes files that their owner alone can read
    except package.SafetensorError as error:  # how it says that the disk is full
        raise OSError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _package() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise MissingPackageError(
            "safetensors is not installed: pip install 'syncsam-lightning[hub]'"
        ) from error
    return safetensors
