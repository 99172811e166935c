"""Groups come up by weight, alike for any number of workers and ranks, and resume exactly."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.order import EpochOrder, Stratum
from syncsam_lightning.data.resume import Position, ResumeError
from syncsam_lightning.data.sampler import BatchGeometry, GlobalOrderSampler
from syncsam_lightning.data.sampling import Sampling, SamplingError

WORLD = st.integers(1, 4)
# Three rows of one group and thirty of another, alike often: the three come many times.
ORDER = EpochOrder([Stratum(np.arange(3), 1.0), Stratum(np.arange(3, 33), 1.0)], 41)


def modalities(datamodule):
    loader = datamodule.train_dataloader()
    return Counter(info.modality for batch in loader for info in batch.infos)


def test_balanced_modalities_come_up_equally_often(tiny):
    found = modalities(tiny(sampling=Sampling("modality", epoch_size=40)))
    assert found == {"ct": 20, "mr": 20}


def test_weights_are_shares_of_the_epoch_and_zero_leaves_out(tiny):
    sampling = Sampling("modality", {"ct": 1, "mr": 3}, epoch_size=20)
    assert modalities(tiny(sampling=sampling)) == {"ct": 5, "mr": 15}
    sampling = Sampling("modality", {"ct": 1, "mr": 0}, epoch_size=20)
    assert modalities(tiny(sampling=sampling)) == {"ct": 20}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"ct": 1, "us": 1}, "no training image is of modality 'us'; the training set has ct, mr"),
        ({"ct": 1}, "modality 'mr' has no weight .* the training set has ct, mr"),
    ],
)
def test_weights_that_do_not_fit_the_groups_are_refused(tiny, weights, message):
    with pytest.raises(SamplingError, match=message):
        tiny(sampling=Sampling("modality", weights))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"ct": -1}}, "ct must be 0 or more, got -1"),
        ({"weights": {"ct": 0}}, "one at least must be above 0"),
        ({"epoch_size": 0}, "epoch_size must be at least 1, got 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def batches(datamodule):
    return [
        (batch.images, batch.targets.masks, batch.targets.keys)
        for batch in datamodule.train_dataloader()
    ]


def test_workers_do_not_change_weighted_batches(tiny):
    sampling = Sampling("modality", {"ct": 5, "mr": 1}, epoch_size=30)
    augmentation = [{"name": "HorizontalFlip", "p": 0.5}]
    alone = batches(tiny(sampling=sampling, augmentation=augmentation))
    shared = batches(tiny(sampling=sampling, augmentation=augmentation, num_workers=2))
    assert len(alone) == len(shared) == 8
    for ours, theirs in zip(alone, shared, strict=True):
        assert all(map(torch.equal, ours, theirs))
    keys = torch.cat([keys for _, _, keys in alone]).tolist()
    assert len(set(keys)) == len(keys)


def visits(world, *, start=0, epoch=2):
    geometry = BatchGeometry(ORDER.num_samples, 2, world)
    ranks = [
        GlobalOrderSampler(geometry, rank=rank, seed=9, order=ORDER, epoch=epoch, start=start)
        for rank in range(world)
    ]
    return [list(rank) for rank in ranks]


@pytest.mark.promise(
    "Resume: a run goes on with another number of ranks and sees every sample once an epoch"
)
@settings(deadline=None, max_examples=40)
@given(data=st.data(), first=WORLD, second=WORLD)
def test_a_killed_run_resumes_with_what_was_left_on_any_world_size(data, first, second):
    geometry = BatchGeometry(ORDER.num_samples, 2, first)
    steps = data.draw(st.integers(0, len(geometry.batches()) - 1))
    stopped = Position(9, 2, 0, ORDER.num_samples).advanced(steps, geometry)
    before = [key for rank in visits(first) for key in rank[: steps * 2]]
    after = [key for rank in visits(second, start=stopped.samples) for key in rank]
    drawn = ORDER.epoch(9, 2)
    whole = Counter(zip(drawn.rows.tolist(), drawn.repeats.tolist(), strict=True))
    seen = Counter((key.row, key.repeat) for key in before + after)
    assert seen <= whole
    assert whole.total() - seen.total() < max(first, second)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_length_of_a_sampler_is_what_it_yields(world):
    geometry = BatchGeometry(ORDER.num_samples, 2, world)
    for rank, keys in enumerate(visits(world)):
        assert len(GlobalOrderSampler(geometry, rank=rank, seed=9, order=ORDER)) == len(keys)


def test_another_order_is_not_resumed_in_silence():
    geometry = BatchGeometry(10, 4, 1)
    position = Position(0, 2, 4, 10, order=1)
    assert Position.from_state(position.state()) == position
    assert position.normalised(geometry, 1) == position
    with pytest.raises(ResumeError, match="filter, sampling or weights differ"):
        position.normalised(geometry, 2)
