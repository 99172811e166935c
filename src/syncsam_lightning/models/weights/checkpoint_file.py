"""Reading the tensors of a checkpoint file, and nothing but tensors."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.weights.numpy_numbers import numpy_numbers
from syncsam_lightning.models.weights.safetensors_file import SUFFIX, read_safetensors

# Where training programs put the state dict within a checkpoint, Lightning's first.
_CONTAINERS = ("state_dict", "model", "model_state_dict")
# Wrappers that put their own name before each tensor's: DistributedDataParallel, torch.compile,
# and the attribute of our LightningModule that holds the model.
_PREFIXES = ("module.", "_orig_mod.", "network.")

# Programs by their suffixes, and what runs them.
_EXPORTED = {
    ".onnx": "syncsam_lightning.exporting.OnnxModel(folder) or docs/onnx_pair.py",
    ".pt2": "syncsam_lightning.exporting.ProgramModel",
}
# Of pickles that can't be torch.save's: its files of before torch 1.6 are of protocol 2.
_PLAIN_PROTOCOLS = range(4, pickle.HIGHEST_PROTOCOL + 1)

# What torch.load raises on damaged files, in its own words or its unpickler's.
READ_ERRORS = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    pickle.UnpicklingError,
    struct.error,
    MemoryError,
    AssertionError,  # how the reader of torch's older format misses a storage
    zipfile.BadZipFile,
)
# How its unpickler words that it met something other than tensors and plain containers.
_UNPICKLERS_OWN = "WeightsUnpickler error:"
_SIGNS_OF_CODE = ("GLOBAL", "unrecognized function", "Can only create", "Can only build")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, without executing anything in it.

    An optimizer that was pickled whole beside the weights (SAM-Med2D's files) or a namespace of
    arguments (IMIS-Bench's) is not restored; the weights are.

    Raises:
        WeightsError: see :func:`read_checkpoint`; or it holds no state dict.
    """
    return unwrap_state_dict(read_checkpoint(path), str(path))


def read_checkpoint(path: Path) -> Any:
    """Read what a checkpoint holds (tensors and plain values), without executing anything in it.

    Args:
        path: of a file that torch.save wrote, or of a ``.safetensors`` file.

    Raises:
        WeightsError: there is no such file, it is no checkpoint or a damaged one, or it holds
            Python objects that only running their code would restore.
        MissingPackageError: ``safetensors`` is needed and not installed.
    """
    if not path.is_file():
        what = "is a folder, not a checkpoint" if path.is_dir() else "does not exist"
        raise WeightsError(
            f"{path} {what}; give a checkpoint of `syncsam fit` or a file of weights"
        )
    if path.suffix == SUFFIX:
        return read_safetensors(path)
    if path.suffix in _EXPORTED:
        raise WeightsError(
            f"{path} is one of the programs of `syncsam export`, not a checkpoint: give the "
            f"checkpoint that it was exported from, or run it by {_EXPORTED[path.suffix]}"
        )
    _refuse_plain_pickle(path)
    try:
        # Memory mapping reads what is needed only; files from before torch 1.6 can't be mapped.
        mapped = zipfile.is_zipfile(path)
        with torch.serialization.safe_globals(_stand_ins()):
            return torch.load(path, weights_only=True, map_location="cpu", mmap=mapped)
    except pickle.UnpicklingError as error:
        if any(sign in str(error) for sign in _SIGNS_OF_CODE):
            raise WeightsError(
                f"{path} holds Python objects besides tensors, and restoring them could run code, "
                "so it was not read; save the weights alone, "
                "torch.save(model.state_dict(), path), and load that file"
            ) from error
        raise _not_a_checkpoint(path, error) from error
    except READ_ERRORS as error:
        raise _not_a_checkpoint(path, error) from error


def _refuse_plain_pickle(path: Path) -> None:
    """Raise for what ``pickle.dump`` wrote; torch.load would only say that it can't read it."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as error:
        raise _not_a_checkpoint(path, error) from error
    if len(head) == 2 and head[:1] == pickle.PROTO and head[1] in _PLAIN_PROTOCOLS:
        raise WeightsError(
            f"{path} is a pickle, not a file of torch.save; to read it could run code, so it was "
            "not read; save the weights alone, torch.save(model.state_dict(), path), and load that "
            "file"
        )


class _LeftOut:
    """Takes the place of an object that is not restored, and forgets what it is told."""

    def __new__(cls, *_args: object) -> _LeftOut:
        """Make one, whatever the arguments of the class that it stands for."""
        return super().__new__(cls)

    def __setstate__(self, _state: object) -> None:
        pass


def _new_dict(*_default: object) -> dict[Any, Any]:
    return {}


def _stand_ins() -> list[Any]:
    """Return what is put in the place of harmless classes that training programs pickle."""
    optimizers = [cls for cls in vars(torch.optim).values() if isinstance(cls, type)]
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in optimizers]
    return [
        *((_LeftOut, name) for name in (*names, "argparse.Namespace")),
        (_new_dict, "collections.defaultdict"),
        (dict, "builtins.dict"),
        *numpy_numbers(),
    ]


def _not_a_checkpoint(path: Path, error: Exception) -> WeightsError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Torch's first line recommends to read the file with everything in it that would run.
    told = [line.partition(_UNPICKLERS_OWN)[2] for line in lines if _UNPICKLERS_OWN in line]
    reason = next(iter(told or lines), "").strip() or type(error).__name__
    return WeightsError(
        f"{path} is not a PyTorch checkpoint, or is damaged ({reason}); fetch or save it again"
    )


def unwrap_state_dict(content: Any, origin: str) -> dict[str, Tensor]:
    """Return the tensors by bare name out of what a checkpoint holds.

    Args:
        content: a state dict, or a dict that holds one as Lightning and others save it.
        origin: what to call it in an error.

    Raises:
        WeightsError: there is no state dict in it.
    """
    if isinstance(content, Mapping):
        for container in _CONTAINERS:
            if isinstance(content.get(container), Mapping):
                content = content[container]
                break
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{origin} holds no state dict, but {_describe(content)}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{origin} holds no state dict: {key!r} is {_describe(value)}, not a tensor"
            )
    return _without_wrappers(dict(content))


def _without_wrappers(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    stripped = {}
    for key, value in state_dict.items():
        name = key
        while name.startswith(_PREFIXES):
            name = name.split(".", 1)[1]
        stripped[name] = value
    return stripped


def _describe(value: object) -> str:
    return "an empty dict" if isinstance(value, Mapping) and not value else type(value).__name__
