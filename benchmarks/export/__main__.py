"""`python -m benchmarks.export`: encoding and clicks in ONNX Runtime and in PyTorch."""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from functools import partial
from pathlib import Path

import onnxruntime
import torch

from benchmarks.data.report import Line, table, write_json
from benchmarks.training.timing import in_turns
from syncsam_lightning.exporting import OnnxFiles, OnnxModel, export_onnx, largest_difference
from syncsam_lightning.models import PromptableModel, SyncSAM, initialise_frozen
from syncsam_lightning.prompts import Prompts

_SMALL = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
_CNNS = {"34": "resnet34", "50": "resnet50"}


@torch.no_grad()
def measure(name: str, model: PromptableModel, exported: OnnxModel, repeats: int) -> list[Line]:
    """Time encoding an image, a first click, and a third one with the previous answer, in turns."""
    side, mask_side = model.input_spec.size, model.input_spec.mask_size
    image = torch.linspace(0, 255, 3 * side * side).reshape(1, 3, side, side)
    index = torch.zeros(1, dtype=torch.int64)
    middle, label = torch.full((1, 1, 2), side / 2), torch.ones(1, 1, dtype=torch.int64)
    clicks = {
        "first click": Prompts(index, points=middle, point_labels=label),
        "third click": Prompts(
            index,
            points=middle.expand(-1, 3, -1),
            point_labels=label.expand(-1, 3),
            mask_logits=torch.zeros(1, mask_side, mask_side),
        ),
    }
    features = model.encode(image), exported.encode(image)
    works = {"encoding": (partial(model.encode, image), partial(exported.encode, image))} | {
        what: (
            partial(model.decode, features[0], prompts),
            partial(exported.decode, features[1], prompts),
        )
        for what, prompts in clicks.items()
    }
    lines = []
    for what, (plain, quick) in works.items():
        seconds = in_turns({"PyTorch": plain, "ONNX Runtime": quick}, repeats)
        found, beside = ([1e3 * s for s in seconds[key]] for key in ("ONNX Runtime", "PyTorch"))
        lines.append(Line(f"{name}: {what}", found, "ms", plain=beside, plain_name="PyTorch"))
    return lines


def main(arguments: list[str]) -> int:
    """Export, compare, measure and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.export", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of both")
    parser.add_argument("--only", choices=_CNNS, help="one of the networks; by default both")
    parser.add_argument("--small", action="store_true", help="a small network, to try this out")
    parser.add_argument("--exports", type=Path, help="keep ONNX files here, use those there")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    names = ["small"] if given.small else [given.only] if given.only else list(_CNNS)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            model = build(name)
            folder = (given.exports or Path(temporary)) / f"syncsam-{name}"
            if not OnnxFiles.inside(folder).decoder.is_file():  # the last to be written
                folder.mkdir(parents=True, exist_ok=True)
                export_onnx(model, folder)
            exported = OnnxModel(folder, threads=given.threads)
            difference = largest_difference(exported, model)
            print(f"SyncSAM-{name}: relative difference {difference}", flush=True)
            lines.append(Line(f"SyncSAM-{name}: difference", [difference.value], "", 1e-3))
            lines += measure(f"SyncSAM-{name}", model, exported, given.repeats)
            del model, exported
            gc.collect()
    print(f"{given.threads} threads, onnxruntime {onnxruntime.__version__}")
    print(table(lines))
    if given.json:
        write_json(lines, given.json)
    return int(any(line.verdict == "MISSED" for line in lines))


def build(name: str) -> SyncSAM:
    """Return a network with the same weights every time."""
    torch.manual_seed(0)
    model = SyncSAM(cnn="resnet18", **_SMALL) if name == "small" else SyncSAM(cnn=_CNNS[name])
    initialise_frozen(model)
    return model.eval()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
