"""Workers are never forked, leave SIGTERM to the main process, and end with it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from syncsam_lightning.data.workers import begin_worker, worker_context


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
        worker_init_fn=begin_worker,
        persistent_workers=True,
    )


def test_workers_are_never_forked():
    assert worker_context(0) is None
    assert worker_context(1).get_start_method() == "forkserver"


def test_a_worker_leaves_sigterm_to_the_main_process():
    before = signal.getsignal(signal.SIGTERM)
    try:
        begin_worker(0)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_a_worker_that_has_not_begun_leaves_sigterm_to_the_main_process_too():
    worker = worker_context(1).Process(target=time.sleep, args=(0.5,))
    worker.start()
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(60)
    assert worker.exitcode == 0


def test_the_main_process_heeds_sigterm_as_before():
    worker_context(1)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_program_ends_after_an_error_though_a_worker_is_still_busy():
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "ValueError: a broken sample" in done.stderr


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see processes")
def test_workers_end_when_the_main_process_is_killed():
    command = [sys.executable, __file__, "idle"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        workers = [int(pid) for pid in main.stdout.readline().split()]
        assert len(workers) == 2
        assert all(map(is_running, workers))
        main.kill()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))


if __name__ == "__main__":
    if sys.argv[1:] == ["idle"]:
        batches = iter(loader(range(4), 2))
        next(batches)
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        time.sleep(600)
    for _ in loader(OneFailsOneIsSlow(), 2):
        pass
