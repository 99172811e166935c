"""How much memory one image with many objects takes: ``python many_objects.py CASE OBJECTS``.

Prints by how many MiB the process grew at most, since everything was imported. Run by
test_many_objects.py, each case in a process of its own.
"""

import resource
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tifffile
import torch
from PIL import Image
from syncsam_datamodules.cosas24 import COSAS24
from syncsam_datamodules.mask_folder import MaskFolder
from torch import nn

from syncsam_lightning.data.codec import encode_image, encode_mask
from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.conversion.rows import RowMaker
from syncsam_lightning.data.dataset import EvaluationSet
from syncsam_lightning.data.row import StoredRow
from syncsam_lightning.data.sampler import EvaluationKey
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prediction import Predictor, VolumePredictor
from syncsam_lightning.prediction.file_predictor import FilePredictor
from syncsam_lightning.prediction.inputs import find_inputs
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from syncsam_lightning.records import NamedMask, RawSample

SIDE = 1500
SLIDE = 4000


class BoxFiller(PromptableModel):
    """Fills the box it is given, or what lies around the first point; needs next to no memory."""

    def __init__(self, side: int = 256, floats_for_each: int = 0) -> None:
        super().__init__()
        self.input_spec = InputSpec(side, frozenset({"boxes", "points", "masks"}), side // 4)
        self.unused = nn.Parameter(torch.zeros(1))
        self.floats_for_each = floats_for_each

    def encode(self, images, sizes=None):
        return ImageFeatures(torch.zeros(len(images), 1, 1, 1))

    def decode(self, features, prompts):
        torch.ones(prompts.num_objects, self.floats_for_each)
        cells = torch.arange(self.input_spec.mask_size) * 4 + 2
        if prompts.boxes is None:
            x0, y0 = prompts.points[:, 0].T
            x0, y0, x1, y1 = x0 - 8, y0 - 8, x0 + 8, y0 + 8
        else:
            x0, y0, x1, y1 = prompts.boxes.T
        columns = (cells > x0[:, None]) & (cells < x1[:, None])
        rows = (cells > y0[:, None]) & (cells < y1[:, None])
        return torch.where(rows[:, :, None] & columns[:, None, :], 9.0, -9.0)


def corner(index: int, side: int, room: int) -> tuple[int, int]:
    x, y = np.random.default_rng(index).integers(0, side - room, 2).tolist()
    return x, y


def disc(index: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    x, y = corner(index, SIDE, 60)
    mask[y : y + 60, x : x + 50] = True
    return mask


def stored(count: int) -> StoredRow:
    corners = [corner(i, SIDE, 60) for i in range(count)]
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 1), np.uint8)
    return StoredRow(
        *("id", "ct", "source", "case", "", "test"),
        *(SIDE, SIDE, 1, SIDE, SIDE),
        encode_image(image),
        [encode_mask(disc(i)) for i in range(count)],
        labels=["cell"] * count,
        boxes=np.array([(x, y, x + 50, y + 60) for x, y in corners], np.int32),
        areas=np.full(count, 3000),
        mask_ids=np.arange(count, dtype=np.int32),
    )


def batch_of(row: StoredRow):
    rows = SimpleNamespace(read=lambda offsets: [row for _ in offsets])
    return collate([EvaluationSet(rows, image_size=256, seed=0)[EvaluationKey(0, True)]])


def convert(count: int):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 1), np.uint8)
    masks = [NamedMask("cell", partial(disc, i), str(i)) for i in range(count)]
    sample = RawSample("id", image, masks, "microscopy", "source", "case")
    return lambda: len(RowMaker(256, print).row(sample, "test")["masks"])


def specks(count: int):
    folder = Path(tempfile.mkdtemp())
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask.reshape(-1)[np.arange(0, SIDE * SIDE, 4)[: count * 2 : 2]] = 255
    for name, pixels in (("image", np.full_like(mask, 90)), ("mask", mask)):
        (folder / "task/domain" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "task/domain" / name / "1.png")
    (sample,) = COSAS24(str(folder)).records(folder)
    return lambda: len(RowMaker(256, print).row(sample, "test")["masks"])


def instances(count: int):
    """A label map of 2,048 x 2,048 pixels and 32 bits."""
    folder = Path(tempfile.mkdtemp())
    for name in ("images", "masks"):
        (folder / "train" / name).mkdir(parents=True)
    tifffile.imwrite(folder / "train/images/1.tif", np.full((2048, 2048), 90, np.uint8))
    cells = np.arange(1, 128**2 + 1, dtype=np.int32).reshape(128, 128)
    labels = np.where(cells <= count, cells, 0).repeat(16, 0).repeat(16, 1)
    tifffile.imwrite(folder / "train/masks/1.tif", labels)
    del labels
    (sample,) = MaskFolder(instance_label="cell").records(folder)
    return lambda: len(RowMaker(1024, print).row(sample, "train")["masks"])


def batch(count: int):
    row = stored(count)
    return lambda: batch_of(row).targets.num_objects


def play(count: int):
    row, model = stored(count), BoxFiller().eval()
    protocols = [get_protocol(name) for name in ("box", "1pt", "imis-box")]

    def run() -> int:
        played = Evaluator(protocols, seeds=(0, 1)).evaluate(model, batch_of(row))
        return len(played[0].scores)

    return run


def predict_file(count: int):
    folder = Path(tempfile.mkdtemp())
    Image.new("L", (SLIDE, SLIDE), 90).save(folder / "slide.png")
    predictor = Predictor(BoxFiller(), device="cpu")
    boxes = [(x, y, x + 300, y + 200) for x, y in (corner(i, SLIDE, 300) for i in range(count))]
    prompts = [ListedPrompt(label="cell", box=box) for box in boxes]
    (source,), _ = find_inputs([folder / "slide.png"])
    files = FilePredictor(predictor, VolumePredictor(predictor), folder / "out")
    return lambda: len(files.run([(source, prompts)]).found)


def predict_boxes(count: int):
    predictor = Predictor(BoxFiller(), device="cpu")
    predictor.set_image(np.zeros((SLIDE, SLIDE), np.uint8))
    boxes = [(x, y, x + 300, y + 200) for x, y in (corner(i, SLIDE, 300) for i in range(count))]
    return lambda: len(predictor.predict(box=boxes))


def decode(count: int):
    """A model of 1,024 pixels that takes 28 MiB for each object, as SAM's decoder does."""
    predictor = Predictor(BoxFiller(1024, floats_for_each=7 << 20), device="cpu")
    predictor.set_image(np.zeros((256, 256), np.uint8))
    return lambda: len(predictor.predict(box=[(i, i, i + 60, i + 50) for i in range(count)]))


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def peak() -> float:
    # Not getrusage: its peak is inherited from the process that started this one.
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    case, count = globals()[sys.argv[1]], int(sys.argv[2])
    case(1)()  # what is imported and compiled at first use
    run = case(count)
    before = resident()
    assert run() == count
    print(peak() - before)
