"""NumPy's single numbers, which training programs leave beside weights, read without NumPy's code.

``torch.load(weights_only=True)`` refuses them. A stand-in of ours takes the place of each name that
they are pickled with, so that what a file gives to it is checked here.
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np

# A bool, an integer, a real or a complex number, by its kind and bytes; no text and no objects.
_NUMBERS = re.compile(r"b1|[iu][1248]|f(?:2|4|8)|c(?:8|16)")


class _NumberType:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: object = None, *_flags: object) -> None:
        if not (isinstance(code, str) and _NUMBERS.fullmatch(code)):
            # In the words of torch's unpickler, for what is more than a plain value.
            raise pickle.UnpicklingError(f"Can only build numbers of NumPy, not {code!r}")
        self.code = code
        self.is_big_endian = False

    def __setstate__(self, state: Any) -> None:
        self.is_big_endian = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"


def _number(kind: object, data: object = None) -> Any:
    """Stand for ``numpy.core.multiarray.scalar``: return the number that some bytes are."""
    if not isinstance(kind, _NumberType) or not isinstance(data, bytes):
        raise ValueError("a number of NumPy is damaged")
    dtype = np.dtype((">" if kind.is_big_endian else "<") + kind.code)
    if len(data) != dtype.itemsize:
        raise ValueError(f"a number of NumPy has {len(data)} bytes, not {dtype.itemsize}")
    return np.frombuffer(data, dtype)[0].item()


def numpy_numbers() -> list[Any]:
    """Return the stand-ins, as :func:`torch.serialization.safe_globals` takes them.

    Numbers come out as Python's own.
    """
    modules = ("numpy._core.multiarray", "numpy.core.multiarray")  # of NumPy 2 and 1
    return [(_NumberType, "numpy.dtype"), *((_number, f"{name}.scalar") for name in modules)]
