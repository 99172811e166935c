"""`python -m benchmarks.evaluation`: encoding an image once, beside once per mask and protocol."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.data.report import Line, table, write_json
from benchmarks.evaluation.made_up import batches, make_sample, one_by_one
from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.models import ImageFeatures, PromptableModel, SyncSAM, initialise_frozen
from syncsam_lightning.prompts import Prompts

PROTOCOLS = ("box", "1pt", "5pts")
GOAL = 1 / 3
_BATCH_SIZE = 10
_SMALL = {
    "cnn": "resnet18",
    "image_size": 64,
    "vit_width": 32,
    "vit_depth": 4,
    "vit_heads": 2,
    "window_size": 3,
}


class OneObject(PromptableModel):
    """A model that is only ever asked about one object, and not made slower by repetitions of it.

    Args:
        model: that answers.
    """

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        self.model, self.input_spec = model, model.input_spec

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """Encode as the model does."""
        return self.model.encode(images, sizes)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """Decode the first object, which stands for all."""
        answer = self.model.decode(features, prompts[:1])
        return answer.expand(prompts.num_objects, -1, -1)


class Stopwatch:
    """Adds up how long evaluations take, by the clock and of CPU time, and keeps their scores."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.scores: dict[tuple[str, str, int], float] = {}

    def run(self, plays: Iterable[tuple[Evaluator, PromptableModel, ImageBatch]]) -> None:
        """Evaluate each batch with its model."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = [
            score
            for evaluator, model, batch in plays
            for evaluation in evaluator.evaluate(model, batch)
            for score in evaluation.scores
        ]
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        self.scores |= {(s.protocol, s.image_id, s.mask_id): s.dice for s in found}


def main(arguments: list[str]) -> int:
    """Measure both ways on the same images, print a table, and return 1 if the goal was missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.evaluation", description=__doc__)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--masks", type=int, default=5, help="on each image")
    parser.add_argument("--small", action="store_true", help="a small network, to try this out")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = SyncSAM(**_SMALL) if given.small else SyncSAM(cnn="resnet34")
    initialise_frozen(model)
    model.eval()
    side = model.input_spec.size
    samples = [make_sample(number, side, given.masks) for number in range(given.images)]
    protocols = [get_protocol(name) for name in PROTOCOLS]

    everything = Evaluator(protocols)
    everything.evaluate(model, batches(samples[:1], 1)[0])  # warms up
    once, per_mask = Stopwatch(), Stopwatch()
    # In turns, so that whatever else the machine does slows both alike.
    for begin in range(0, len(samples), _BATCH_SIZE):
        part = samples[begin : begin + _BATCH_SIZE]
        (together,), singles = batches(part, _BATCH_SIZE), one_by_one(part)
        once.run([(everything, model, together)])
        per_mask.run(
            [(Evaluator([p]), OneObject(model), single) for p in protocols for single in singles]
        )
    scores, again = once.scores, per_mask.scores
    # Corrections depend on the last digits of an answer, boxes don't.
    if any(abs(scores[key] - again[key]) > 1e-3 for key in scores if key[0] == "box"):
        print("the two ways give different scores", file=sys.stderr)
        return 2
    name = "encoding per mask"
    lines = [
        Line("encoding once", [once.wall], "s", plain=[per_mask.wall], plain_name=name),
        Line("  share of encoding per mask", [once.wall / per_mask.wall], "x", GOAL),
        Line("  CPU time", [once.cpu], "s", plain=[per_mask.cpu], plain_name=name),
        Line("  share of CPU time", [once.cpu / per_mask.cpu], "x"),
    ]
    print(f"{given.images} images x {given.masks} masks x {len(protocols)} protocols")
    print(table(lines))
    if given.json:
        write_json(lines, given.json)
    return int(any(line.verdict == "MISSED" for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
