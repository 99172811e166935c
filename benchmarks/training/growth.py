"""How time and memory grow with batch, masks, rounds and image size."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.training.memory import peak_bytes
from benchmarks.training.report import Line
from benchmarks.training.setting import Setting
from benchmarks.training.step import training_step
from benchmarks.training.timing import in_turns
from syncsam_lightning.interaction import TrainingEpisode

_GIB = 2**30


def measure_growth(setting: Setting) -> list[Line]:
    """Measure training steps, each quantity in turn, the others at their smallest."""
    lines = []
    for name, images, masks, side, iterations in _cases(setting):
        model = setting.model(image_size=side).train()
        episode = TrainingEpisode(iterations=iterations, box_probability=1.0)
        batch = setting.batch(images, masks, side)
        step = training_step(setting, model, batch, episode, torch.float32)
        seconds = in_turns({name: step}, setting.repeats)[name]
        lines += [
            Line(f"{name}: time", seconds, "s"),
            Line(f"{name}: memory", [peak_bytes(step, setting.device) / _GIB], "GiB"),
        ]
    return lines


def _cases(setting: Setting) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield name, images, masks, side and iterations."""
    side = setting.side
    for images in (1, 2) if setting.tiny else (1, 2, 4, 8, 16):
        yield f"images {images}", images, 1, side, 0
    for masks in (1, 2) if setting.tiny else (1, 5, 10, 20):
        yield f"masks {masks}", 1, masks, side, 0
    for rounds in (1, 2) if setting.tiny else (1, 3, 5, 9):
        yield f"rounds {rounds}", 1, 5, side, rounds - 1
    for larger in (64, 96) if setting.tiny else (256, 512, 1024):
        yield f"side {larger}", 1, 1, larger, 0
