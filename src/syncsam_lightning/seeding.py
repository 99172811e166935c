"""The only place that turns names and counters into random generators.

Everything random in the framework is a function of (seed, epoch, image id, mask id), never of the
order in which workers or ranks happen to run. Strings are hashed with BLAKE2b, so keys agree
between processes, machines and Python versions (``hash()`` does not).
"""

from __future__ import annotations

import hashlib

import numpy as np

_MASK_63 = (1 << 63) - 1


def stable_key(*parts: int | str) -> int:
    """Hash any number of integers and strings into one key in [0, 2**63).

    The parts are length-prefixed, so ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        # A file name that is not UTF-8 has a key too; elsewhere this changes nothing.
        data = str(part).encode(errors="surrogateescape")
        digest.update(f"{type(part).__name__[0]}{len(data)}:".encode())
        digest.update(data)
    return int.from_bytes(digest.digest(), "little") & _MASK_63


def mask_key(seed: int, epoch: int, image_id: str, mask_id: int) -> int:
    """Return the key, in [0, 2**63), that all random prompts of one mask in one epoch grow from."""
    return stable_key("mask", seed, epoch, image_id, mask_id)


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """Return a NumPy generator that is a pure function of ``parts``."""
    return np.random.Generator(np.random.Philox(key=stable_key(*parts)))
