"""`python -m benchmarks.evaluation`: encoding an image once, beside once per mask and protocol."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.data.report import Line, table, write_json
from benchmarks.evaluation.made_up import batches, make_sample, one_by_one
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.evaluation.runner import BatchEvaluation
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

    def once() -> Iterable[BatchEvaluation]:
        evaluator = Evaluator(protocols)
        for batch in batches(samples, _BATCH_SIZE):
            yield from evaluator.evaluate(model, batch)

    def per_mask() -> Iterable[BatchEvaluation]:
        for protocol in protocols:
            evaluator = Evaluator([protocol])
            for batch in one_by_one(samples):
                yield from evaluator.evaluate(OneObject(model), batch)

    _scores(Evaluator(protocols).evaluate(model, batches(samples[:1], 1)[0]))  # warms up
    (scores, wall, cpu), (again, slow_wall, slow_cpu) = (_timed(play) for play in (once, per_mask))
    # Corrections depend on the last digits of an answer, boxes don't.
    if any(abs(scores[key] - again[key]) > 1e-3 for key in scores if key[0] == "box"):
        print("the two ways give different scores", file=sys.stderr)
        return 2
    name = "encoding per mask"
    lines = [
        Line("encoding once", [wall], "s", plain=[slow_wall], plain_name=name),
        Line("  share of encoding per mask", [wall / slow_wall], "x", GOAL),
        Line("  CPU time", [cpu], "s", plain=[slow_cpu], plain_name=name),
        Line("  share of CPU time", [cpu / slow_cpu], "x"),
    ]
    print(f"{given.images} images x {given.masks} masks x {len(protocols)} protocols")
    print(table(lines))
    if given.json:
        write_json(lines, given.json)
    return int(any(line.verdict == "MISSED" for line in lines))


def _scores(evaluations: Iterable[BatchEvaluation]) -> dict[tuple[str, str, int], float]:
    return {
        (score.protocol, score.image_id, score.mask_id): score.dice
        for evaluation in evaluations
        for score in evaluation.scores
    }


def _timed(
    play: Callable[[], Iterable[BatchEvaluation]],
) -> tuple[dict[tuple[str, str, int], float], float, float]:
    """Return the scores, and how long they took by the clock and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    scores = _scores(play())
    return scores, time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
