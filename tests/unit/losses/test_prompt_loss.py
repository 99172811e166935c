from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from syncsam_lightning.losses import PromptLoss


def square(side=8):
    truth = torch.zeros(1, side, side, dtype=torch.bool)
    truth[0, :4, :4] = True
    return truth


def test_dice_and_focal_of_an_undecided_answer_are_known_by_hand():
    terms = PromptLoss().terms(torch.zeros(1, 8, 8), square())
    # 64 pixels at p = 0.5, 16 of them true: Dice = 1 - (2 * 8 + 1) / (32 + 16 + 1).
    assert terms.dice.item() == pytest.approx(1 - 17 / 49)
    # Focal: 0.25 * log 2 * (0.25 * 16 + 0.75 * 48) / 64.
    focal = 0.25 * math.log(2) * 40 / 64
    assert terms.focal.item() == pytest.approx(focal)
    assert terms.total.item() == pytest.approx(20 * (1 - 17 / 49) + focal)


def test_a_perfect_answer_costs_nothing():
    truth = square()
    terms = PromptLoss().terms((truth.float() * 2 - 1) * 50, truth)
    assert terms.total.item() == pytest.approx(0, abs=1e-6)


def test_a_completely_wrong_answer_costs_the_full_dice():
    truth = square()
    terms = PromptLoss().terms((1 - truth.float() * 2) * 50, truth)
    assert terms.dice.item() == pytest.approx(1 - 1 / 65)
    assert terms.focal.item() == pytest.approx(50 * (0.25 * 16 + 0.75 * 48) / 64)


def test_forward_is_the_total():
    logits = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    truth = square().expand(3, -1, -1)
    loss = PromptLoss()
    assert loss(logits, truth).equal(loss.terms(logits, truth).total)


def test_weights_multiply_their_terms():
    logits = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    truth = square().expand(2, -1, -1)
    terms = PromptLoss(dice_weight=3, focal_weight=7).terms(logits, truth)
    assert terms.total.item() == pytest.approx(3 * terms.dice.item() + 7 * terms.focal.item())


def test_every_mask_counts_the_same_however_large():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 8, 8, generator=generator)
    truth = torch.zeros(3, 32, 32, dtype=torch.bool)
    truth[0] = True
    truth[1, 3:5, 3:5] = True
    truth[2, :20] = True
    loss = PromptLoss()
    together = loss.terms(logits, truth)
    alone = [loss.terms(logits[i : i + 1], truth[i : i + 1]) for i in range(3)]
    for name in ("dice", "focal", "total"):
        mean = sum(getattr(terms, name).item() for terms in alone) / 3
        assert getattr(together, name).item() == pytest.approx(mean, rel=1e-5)


def test_focal_agrees_with_torchvision():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(2, 8, 8, generator=generator)
    truth = torch.rand(2, 8, 8, generator=generator) > 0.7
    for gamma, alpha in ((2.0, 0.25), (3.5, 0.6)):
        expected = sigmoid_focal_loss(
            logits, truth.float(), alpha=alpha, gamma=gamma, reduction="mean"
        )
        found = PromptLoss(gamma=gamma, alpha=alpha).terms(logits, truth).focal
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_low_resolution_logits_are_brought_to_the_truth_bilinearly():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 4, generator=generator)
    truth = torch.rand(2, 16, 16, generator=generator) > 0.5
    full = torch.nn.functional.interpolate(
        logits[:, None], (16, 16), mode="bilinear", align_corners=False
    )[:, 0]
    loss = PromptLoss()
    assert loss(logits, truth).equal(loss(full, truth))


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, 0.5, 1.0, 2.0, 20.0]), st.booleans())
def test_extreme_logits_give_finite_losses_and_gradients(value, gamma, empty):
    logits = torch.full((1, 8, 8), value, requires_grad=True)
    truth = square() & (not empty)
    total = PromptLoss(gamma=gamma)(logits, truth)
    total.backward()
    assert total.isfinite()
    assert logits.grad.isfinite().all()


def test_an_empty_mask_still_has_a_gradient_that_lowers_the_logits():
    logits = torch.zeros(1, 8, 8, requires_grad=True)
    PromptLoss(focal_weight=0)(logits, torch.zeros(1, 8, 8, dtype=torch.bool)).backward()
    assert (logits.grad > 0).all()


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 3, generator=generator).requires_grad_()
    truth = torch.rand(1, 6, 6, generator=generator) > 0.5
    loss = PromptLoss()
    (gradient,) = torch.autograd.grad(loss(logits, truth), logits)
    step = 1e-2
    for i in range(9):
        nudge = torch.zeros(9)
        nudge[i] = step
        nudge = nudge.reshape(1, 3, 3)
        slope = (loss(logits + nudge, truth) - loss(logits - nudge, truth)) / (2 * step)
        assert gradient.flatten()[i].item() == pytest.approx(slope.item(), rel=0.02, abs=2e-3)


def test_the_loss_is_float32_under_autocast_and_for_half_precision_logits():
    truth = square()
    logits = torch.linspace(-3, 3, 64).reshape(1, 8, 8).bfloat16()
    expected = PromptLoss()(logits.float(), truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = PromptLoss()(logits, truth)
    assert found.dtype == torch.float32
    assert found.equal(expected)


def test_autocast_is_off_while_the_terms_are_computed():
    seen = []

    class Watched(PromptLoss):
        def _dice(self, logits, truth):
            seen.append((torch.is_autocast_enabled("cpu"), logits.dtype))
            return super()._dice(logits, truth)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        Watched()(torch.zeros(1, 8, 8).bfloat16(), square())
        assert torch.is_autocast_enabled("cpu")
    assert seen == [(False, torch.float32)]


def test_no_mask_is_refused():
    with pytest.raises(ValueError, match="at least one mask, got none"):
        PromptLoss()(torch.zeros(0, 2, 2), torch.zeros(0, 8, 8, dtype=torch.bool))


def test_different_numbers_of_masks_are_refused():
    with pytest.raises(ValueError, match=r"got \(2, 2, 2\) and \(1, 8, 8\)"):
        PromptLoss()(torch.zeros(2, 2, 2), square())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dice_weight": -1}, "dice_weight=-1, focal_weight=1.0"),
        ({"dice_weight": 0, "focal_weight": 0}, "not both 0, got dice_weight=0, focal_weight=0"),
        ({"gamma": -1}, "gamma must be 0 or more, got -1"),
        ({"alpha": 1.5}, r"alpha must be within \[0, 1\], got 1.5"),
        ({"smooth": 0}, "smooth must be positive, got 0"),
        ({"iou_weight": -2}, "iou_weight must be 0 or more, got -2"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PromptLoss(**arguments)


def test_a_predicted_iou_is_trained_towards_the_one_of_the_answer():
    truth = square()
    logits = (truth.float() * 2 - 1) * 50
    half = logits.clone()
    half[:, :2] = -50  # the upper half of the square
    expected = (half > 0).sum() / truth.sum()
    both, truths = torch.cat([logits, half]), torch.cat([truth, truth])
    loss = PromptLoss(iou_weight=2.0)
    plain = loss.terms(both, truths).total
    right = torch.tensor([1.0, float(expected)])
    assert loss.terms(both, truths, right).total.item() == pytest.approx(plain.item(), abs=1e-6)
    off = (right - torch.tensor([0.5, 0.1])).requires_grad_()
    total = loss.terms(both, truths, off).total
    assert (total - plain).item() == pytest.approx(2 * (0.25 + 0.01) / 2, abs=1e-5)
    total.backward()
    assert (off.grad < 0).all()


def test_without_weight_a_predicted_iou_has_a_gradient_of_zero():
    predicted = torch.tensor([0.3], requires_grad=True)
    PromptLoss().terms(torch.zeros(1, 8, 8), square(), predicted).total.backward()
    assert predicted.grad.tolist() == [0]
