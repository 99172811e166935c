"""Saying in one sentence that another rank or a loader worker is gone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch.distributed import DistError

from syncsam_lightning.errors import LostProcessError

RANK_TIMEOUT = 1800
"""Seconds that ranks wait for each other unless told otherwise; Lightning's own choice for DDP."""

_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pid>[\d, ]+)\)")
_GLOO = "gloo/"  # has no exception of its own, but says where in its sources it failed
_GO_ON = "the same command with --ckpt_path last goes on from the newest checkpoint"


def limit_waiting(seconds: int) -> None:
    """Let the ranks of every later DDP run wait for each other no longer than this.

    Args:
        seconds: after which a rank that hears nothing of another ends.
    """
    # `ddp` is also what Lightning itself takes for several devices.
    StrategyRegistry.register(
        "ddp",
        DDPStrategy,
        description=f"DistributedDataParallel; ranks wait {seconds} s for each other",
        override=True,
        timeout=timedelta(seconds=seconds),
    )


@contextmanager
def lost_processes_told() -> Iterator[None]:
    """Turn what torch raises where a process is gone into one sentence.

    Raises:
        LostProcessError: another rank or a loader worker ended, or a rank stood still.
    """
    try:
        yield
    except RuntimeError as error:
        message = " ".join(str(error).split())
        if found := _WORKER.search(message):
            raise LostProcessError(
                f"loader worker {found['pid']} was ended from outside, as the system does "
                f"when memory runs out ({message}): {_GO_ON}; fewer data.num_workers or a smaller "
                "data.batch_size take less memory"
            ) from error
        if isinstance(error, DistError) or _GLOO in message:
            rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0")
            raise LostProcessError(
                f"rank {rank} has lost another rank, which ended, or took longer to start or to "
                f"answer than --rank_timeout; its own output says why ({message}): {_GO_ON}"
            ) from error
        raise
