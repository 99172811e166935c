"""Masks that look like objects: smooth blobs of all sizes."""

import numpy as np
import pytest
import torch
from scipy import ndimage


@pytest.fixture(scope="session")
def blobs():
    def build(count, *, seed, height=48, width=40):
        rng = np.random.default_rng(seed)
        noise = ndimage.gaussian_filter(rng.standard_normal((count, height, width)), (0, 4, 4))
        quantiles = rng.uniform(0.3, 0.98, count)
        levels = [np.quantile(image, q) for image, q in zip(noise, quantiles, strict=True)]
        return torch.from_numpy(noise > np.array(levels)[:, None, None])

    return build
