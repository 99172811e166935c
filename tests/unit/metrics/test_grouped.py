from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from syncsam_lightning.metrics import GroupedMean, GroupStatistic

VALUES = torch.rand(101, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NAMES = [("ct", "mr", "x_ray")[i % 7 % 3] for i in range(101)]
GROUPS = ("ct", "mr", "x_ray", "ultrasound")


def filled(*batches: slice) -> GroupedMean:
    metric = GroupedMean(GROUPS)
    for batch in batches:
        metric.update(VALUES[batch], NAMES[batch])
    return metric


def test_means_are_known_by_hand():
    metric = GroupedMean(["a", "b"])
    metric.update(torch.tensor([1.0, 0.0, 0.5]), ["a", "b", "a"])
    metric.update(torch.tensor([0.0]), ["a"])
    result = metric.compute()
    assert list(result) == ["a", "b"]
    assert result["a"].mean == 0.5
    assert result["a"].std == pytest.approx(math.sqrt(1 / 6))
    assert result["a"].count == 3
    assert result["b"] == GroupStatistic(mean=0.0, std=0.0, count=1)


def test_mean_and_std_are_those_of_the_standard_library():
    result = filled(slice(None)).compute()
    for name in ("ct", "mr", "x_ray"):
        mine = [value for value, of in zip(VALUES.tolist(), NAMES, strict=True) if of == name]
        assert result[name].mean == pytest.approx(statistics.fmean(mine), rel=1e-12)
        assert result[name].std == pytest.approx(statistics.pstdev(mine), rel=1e-9)
        assert result[name].count == len(mine)


def test_a_group_without_a_member_is_nan():
    result = filled(slice(None)).compute()["ultrasound"]
    assert math.isnan(result.mean)
    assert math.isnan(result.std)
    assert result.count == 0


def test_batches_of_any_size_give_the_same():
    whole = filled(slice(None)).compute()
    parts = filled(slice(0, 1), slice(1, 1), slice(1, 60), slice(60, 101)).compute()
    for name in ("ct", "mr", "x_ray"):
        assert parts[name].mean == pytest.approx(whole[name].mean, rel=1e-12)
        assert parts[name].count == whole[name].count


def test_a_nan_spoils_its_own_group_only():
    metric = GroupedMean(["a", "b"])
    metric.update(torch.tensor([math.nan, 1.0]), ["a", "b"])
    assert math.isnan(metric.compute()["a"].mean)
    assert metric.compute()["b"].mean == 1


def test_sums_stay_in_double_precision_when_a_module_is_halved():
    metric = torch.nn.ModuleList([GroupedMean(["a"])]).half()[0]
    metric.update(torch.tensor([1e-3], dtype=torch.float64), ["a"])
    assert metric.compute()["a"].mean == 1e-3


def test_values_take_no_graph_along():
    metric = GroupedMean(["a"])
    metric.update(torch.ones(1, requires_grad=True), ["a"])
    assert not metric.total.requires_grad


@pytest.mark.filterwarnings("ignore:.*was called before the ``update``:UserWarning")
def test_reset_forgets():
    metric = filled(slice(None))
    metric.reset()
    assert metric.compute()["ct"].count == 0


def test_forward_gives_the_batch_and_keeps_the_whole():
    metric = filled(slice(0, 50))
    batch = metric(VALUES[50:], NAMES[50:])
    assert batch["ct"].count == NAMES[50:].count("ct")
    assert metric.compute()["ct"].count == NAMES.count("ct")


@pytest.mark.filterwarnings("ignore:.*was called before the ``update``:UserWarning")
def test_no_group_gives_no_statistic():
    assert GroupedMean([]).compute() == {}


def test_an_unknown_group_is_named():
    metric = GroupedMean(["ct", "mr"])
    with pytest.raises(ValueError, match="unknown group 'pet'; the groups are ct, mr"):
        metric.update(torch.ones(2), ["ct", "pet"])
    assert metric.compute()["ct"].count == 0


def test_a_group_given_twice_is_refused():
    with pytest.raises(ValueError, match="groups holds names twice: ct"):
        GroupedMean(["ct", "mr", "ct"])


def test_values_and_names_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"values must be \(1,\), one per name, got \(2,\)"):
        GroupedMean(["ct"]).update(torch.ones(2), ["ct"])


def _rank(rank: int, folder: str) -> None:
    # Rank 0 sees most of the values and rank 1 a single batch.
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metric = filled(slice(0, 90), slice(97, 101)) if rank == 0 else filled(slice(90, 97))
    torch.save(
        {name: (s.mean, s.std, s.count) for name, s in metric.compute().items()},
        f"{folder}/{rank}.pt",
    )
    dist.destroy_process_group()


def test_two_ranks_give_what_one_process_gives(tmp_path: Path):
    mp.spawn(_rank, args=(str(tmp_path),), nprocs=2)
    alone = filled(slice(None)).compute()
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for result in ranks:
        for name in ("ct", "mr", "x_ray"):
            mean, std, count = result[name]
            assert mean == pytest.approx(alone[name].mean, rel=1e-12)
            assert std == pytest.approx(alone[name].std, rel=1e-9)
            assert count == alone[name].count
        assert result["ultrasound"][2] == 0
        assert math.isnan(result["ultrasound"][0])
