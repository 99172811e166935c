"""Workers are never forked, leave SIGTERM to the main process, and end with it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from torch.utils.data import DataLoader

from syncsam_lightning.data.workers import ignore_sigterm, worker_context


class OneFailsOneIsSlow:
    """The first sample is broken; the second takes longer than torch waits for its workers."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index == 0:
            time.sleep(1)
            raise ValueError("a broken sample")
        time.sleep(9)
        return index


def loader(dataset, workers):
    return DataLoader(
        dataset,
        batch_size=1,
        num_workers=workers,
        multiprocessing_context=worker_context(workers),
        worker_init_fn=ignore_sigterm,
        persistent_workers=True,
    )


def test_workers_are_never_forked():
    assert worker_context(0) is None
    assert worker_context(1).get_start_method() == "forkserver"


def test_a_worker_leaves_sigterm_to_the_main_process():
    before = signal.getsignal(signal.SIGTERM)
    try:
        ignore_sigterm(0)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_a_program_ends_after_an_error_though_a_worker_is_still_busy():
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "ValueError: a broken sample" in done.stderr


if __name__ == "__main__":
    for _ in loader(OneFailsOneIsSlow(), 2):
        pass
