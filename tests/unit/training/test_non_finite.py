"""Bad gradients never reach the weights, and a run that has many ends."""

import pytest
import torch

from syncsam_lightning.errors import NonFiniteLossError
from syncsam_lightning.training.non_finite import NonFiniteGuard


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def backward(guard, network, value=1.0, images=("a",)):
    guard.begin(network)
    loss = network(torch.full((5, 3), value).normal_() * value).square().mean()
    loss.backward()
    guard.add_loss(loss, images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_gradients_and_statistics_of_a_bad_step_are_dropped(network, value):
    guard = NonFiniteGuard(5)
    before = network[1].running_mean.clone()
    backward(guard, network, value)
    assert not torch.isfinite(network[1].running_mean).all()
    assert not guard.check(network.parameters(), 0)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(network[1].running_mean, before)
    assert network[1].num_batches_tracked == 0


def test_a_good_step_is_left_as_it_is(network):
    guard = NonFiniteGuard(0)
    backward(guard, network)
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    assert guard.check(network.parameters(), 0)
    after = [parameter.grad for parameter in network.parameters()]
    assert all(map(torch.equal, gradients, after))
    assert network[1].num_batches_tracked == 1


def test_a_step_over_several_batches_names_all_and_goes_back_to_the_first(network, caplog):
    guard = NonFiniteGuard(5)
    backward(guard, network, 1.0, ["a", "b"])
    backward(guard, network, float("nan"), ["c"])
    assert not guard.check(network.parameters(), 7)
    assert "step 7" in caplog.text
    assert "on images a, b, c" in caplog.text
    assert network[1].num_batches_tracked == 0


def test_bad_steps_are_counted_within_the_last_thousand(network):
    guard = NonFiniteGuard(2)
    for step in (0, 10, 1005, 1010):
        backward(guard, network, float("nan"))
        assert not guard.check(network.parameters(), step)
    backward(guard, network, float("nan"), ["z"])
    with pytest.raises(NonFiniteLossError, match=r"images z; .* 3\. bad step .* allows 2"):
        guard.check(network.parameters(), 1011)


def test_a_guard_that_is_restored_counts_on_and_knows_the_images(network, caplog):
    first = NonFiniteGuard(2)
    for step, images in ((0, ["a"]), (900, ["b", "c"])):
        backward(first, network, float("nan"), images)
        first.check(network.parameters(), step)
    second = NonFiniteGuard(2)
    second.load_state_dict(first.state_dict())
    backward(second, network, float("nan"), ["c", "d"])
    assert not second.check(network.parameters(), 1000)  # the step 0 is out of the window by now
    assert "on images c, d; the step is skipped, 2 of 2 allowed" in caplog.text
    backward(second, network, float("nan"), ["b", "e"])
    told = r"images b, e, of which b not for the first time; that is the 3\. bad step"
    with pytest.raises(NonFiniteLossError, match=told):
        second.check(network.parameters(), 1001)


def test_a_guard_without_a_state_begins_anew():
    guard = NonFiniteGuard(0)
    guard.load_state_dict({"skipped": [[3, ["a"]]]})
    guard.load_state_dict({})
    assert guard.state_dict() == {"skipped": []}


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match="max_skipped_steps"):
        NonFiniteGuard(-1)
