"""The most memory that tensors take at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

GIB = 2**30


def peak_bytes(work: Callable[[], object], device: str) -> int:
    """Run ``work`` and return by how much the memory of tensors grew at most, in bytes.

    On a CPU, from the allocations and releases that torch's profiler records; what libraries take
    for themselves (packed weights, for example) is not among them. On a GPU, from torch's
    allocator.
    """
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    now = most = 0
    for event in sorted(_memory_events(recorded), key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def _memory_events(recorded: profile) -> list:
    events = recorded.profiler.kineto_results.events()
    return [event for event in events if event.name() == "[memory]"]
