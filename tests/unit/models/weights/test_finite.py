"""NaN and infinities are found in weights of every type; large numbers are not taken for them."""

from __future__ import annotations

import re

import pytest
import torch

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.weights.finite import check_finite

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_tensor_is_named_with_the_number_of_values(dtype: torch.dtype, value: float):
    wrong = torch.tensor([[1.0, value], [value, 2.0]]).to(dtype)
    message = "w.pth: tensor b.weight holds values that are not finite (2 of 4)"
    with pytest.raises(WeightsError, match=re.escape(message)):
        check_finite({"a": torch.zeros(3), "b.weight": wrong}, "w.pth")


def test_infinities_that_cancel_are_found():
    with pytest.raises(WeightsError, match="tensor a"):
        check_finite({"a": torch.tensor([float("inf"), -float("inf")])}, "w.pth")


@pytest.mark.parametrize("dtype", TYPES)
def test_a_sum_that_is_too_large_is_not_held_against_its_values(dtype: torch.dtype):
    largest = torch.finfo(dtype).max
    check_finite({"a": torch.full((8,), largest, dtype=torch.float64).to(dtype)}, "w.pth")


def test_what_holds_no_such_values_is_passed_over():
    check_finite(
        {
            "count": torch.tensor(3),
            "mask": torch.tensor([True]),
            "none": torch.zeros(0),
            "meta": torch.zeros(3, device="meta"),
        },
        "w.pth",
    )
