from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models.sharing import of_each_object

IMAGE_INDEX = torch.tensor([1, 0, 1, 0, 0])


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.promise("Numbers: several threads give the bits of the run before")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_shared_maps_are_added_up_in_one_order(two_threads, memory_format):
    per_image = torch.randn(2, 32, 32, 32).to(memory_format=memory_format).requires_grad_()
    weights = torch.randn(5, 32, 32, 32)

    def gradient() -> torch.Tensor:
        loss = (of_each_object(per_image, IMAGE_INDEX) * weights).sum()
        return torch.autograd.grad(loss, per_image)[0]

    first = gradient()
    torch.testing.assert_close(first[1], weights[0] + weights[2])
    # Adding in any order, as plain indexing does, differs in nine of ten tries.
    assert all(gradient().equal(first) for _ in range(50))


def test_each_object_gets_what_belongs_to_its_image():
    per_image = torch.arange(6.0).reshape(2, 3)
    assert of_each_object(per_image, IMAGE_INDEX).equal(per_image[IMAGE_INDEX])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_maps_keep_their_memory_format(memory_format):
    per_image = torch.randn(2, 3, 4, 5).to(memory_format=memory_format)
    maps = of_each_object(per_image, IMAGE_INDEX)
    assert maps.equal(per_image[IMAGE_INDEX])
    assert maps.is_contiguous(memory_format=memory_format)
