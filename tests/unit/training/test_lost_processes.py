"""What torch raises about lost processes becomes a sentence, and nothing else does."""

import pytest
import torch
from torch.distributed import DistBackendError

from syncsam_lightning.errors import LostProcessError
from syncsam_lightning.training.lost_processes import lost_processes_told


@pytest.mark.promise("Resume: a rank is killed or stands still; the others end, in bounded time")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/x/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed"),
        DistBackendError("NCCL communicator was aborted on rank 1"),
    ],
    ids=["gloo", "nccl"],
)
def test_a_lost_rank_is_told_with_what_to_do(error, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(LostProcessError) as told, lost_processes_told():
        raise error
    assert str(told.value).startswith("rank 1 has lost another rank")
    assert "--ckpt_path last" in str(told.value)
    assert str(error) in str(told.value)


@pytest.mark.promise("Resume: a loader worker is killed; the run says so, and a restart goes on")
@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 17) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 17) exited unexpectedly",
    ],
)
def test_a_lost_worker_is_told_by_its_number(message):
    told = "loader worker 17 was ended from outside"
    with pytest.raises(LostProcessError, match=told), lost_processes_told():
        raise RuntimeError(message)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), lost_processes_told():
        torch.zeros(2, 3) @ torch.zeros(2, 3)
