"""What a run may choose about torch itself: compiling, and how float32 matrices are multiplied."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from syncsam_lightning.errors import UnsupportedPrecisionError

NO_BACKEND = "none"

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Of a Trainer, those in which SyncSAM computes: its weights, inputs and losses are float32."""

_SHORT_FORMS = ("32", "bf16", "16")  # Lightning's, of the same three

MatmulPrecision = Literal["unchanged", "highest", "high", "medium"]
"""As :func:`torch.set_float32_matmul_precision` takes it: ``"high"`` lets GPUs multiply in TF32,
``"medium"`` in bfloat16. ``"unchanged"`` leaves what the process has set; torch begins with
``"highest"``."""


def check_precision(name: object) -> None:
    """Refuse precisions in which the weights would not be float32.

    Args:
        name: as a Trainer takes it; None stands for its default.

    Raises:
        UnsupportedPrecisionError: it is neither one of :data:`PRECISIONS` nor short for one.
    """
    if name is not None and str(name) not in PRECISIONS + _SHORT_FORMS:
        raise UnsupportedPrecisionError(
            f"trainer.precision is {name}, but SyncSAM keeps its weights in float32: choose from "
            f"{', '.join(PRECISIONS)}"
        )


def check_backend(name: str) -> None:
    """Raise ``ValueError`` unless ``torch.compile`` knows a backend, or it is ``"none"``."""
    if name == NO_BACKEND:
        return  # the list takes seconds to make
    if name not in torch.compiler.list_backends(exclude_tags=()):
        known = ", ".join([NO_BACKEND, *torch.compiler.list_backends()])
        raise ValueError(f"compile: unknown backend {name!r}; choose from {known}")


def check_matmul_precision(name: str) -> None:
    """Raise ``ValueError`` unless this is a :data:`MatmulPrecision`."""
    if name not in get_args(MatmulPrecision):
        known = ", ".join(get_args(MatmulPrecision))
        raise ValueError(f"matmul_precision: unknown value {name!r}; choose from {known}")


def set_matmul_precision(precision: MatmulPrecision) -> None:
    """Choose how float32 matrices are multiplied, in the whole process."""
    if precision != "unchanged":
        torch.set_float32_matmul_precision(precision)
