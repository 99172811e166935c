"""A batch made by hand and a model whose answer is known."""

import pytest
import torch
from torch import nn

from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
from syncsam_lightning.evaluation.scores import MaskScore
from syncsam_lightning.geometry import PackedMasks, ResizePlan, masks_to_boxes
from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prompts import Prompts, Targets

SIDE = 64
SHAPES = ((128, 64), (32, 64))
"""Height and width of the original images: one twice as large as the square, one that pads it."""


class BoxFiller(PromptableModel):
    """Fills the box it is given, or a square of 16 pixels around the last foreground point.

    Counts its calls, and keeps what it was shown of the images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_spec = InputSpec(SIDE, frozenset({"boxes", "points", "masks"}), SIDE // 4)
        self.unused = nn.Parameter(torch.zeros(1))
        self.num_encoded = 0

    def encode(self, images, sizes=None):
        self.num_encoded += 1
        return ImageFeatures(images.float().mean(1, keepdim=True))

    def decode(self, features: ImageFeatures, prompts: Prompts):
        self.check_prompts(prompts)
        cells = torch.arange(SIDE // 4) * 4 + 2
        if prompts.boxes is not None:
            x0, y0, x1, y1 = prompts.boxes.unbind(1)
        else:
            x, y = prompts.points[:, 0].unbind(1)
            x0, y0, x1, y1 = x - 8, y - 8, x + 8, y + 8
        inside_x = (cells > x0[:, None]) & (cells < x1[:, None])
        inside_y = (cells > y0[:, None]) & (cells < y1[:, None])
        inside = inside_y[:, :, None] & inside_x[:, None, :]
        return torch.where(inside, 10.0, -10.0) + 0 * self.unused


@pytest.fixture
def model():
    return BoxFiller().eval()


@pytest.fixture
def make_batch():
    """Build two non-square images with two objects and one; the second may only fill up."""

    def build(*, second_is_valid=True, with_original=True):
        originals = [torch.zeros(2, 128, 64, dtype=torch.bool), torch.zeros(1, 32, 64).bool()]
        originals[0][0, 32:64, 16:48] = True  # 32 x 32, fills its box
        originals[0][1, 64:96, 0:32] = torch.ones(32, 32).tril().bool()  # half of its box
        originals[1][0, 8:24, 16:48] = True
        masks = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
        masks[0, 16:32, 8:24] = True
        masks[1, 32:48, 0:16] = torch.ones(16, 16).tril().bool()
        masks[2, 8:24, 16:48] = True
        index = torch.tensor([0, 0, 1])
        boxes = torch.cat([masks_to_boxes(m) for m in originals])
        model_boxes = [
            ResizePlan(*SHAPES[i], SIDE).boxes_to_model(box)
            for i, box in zip(index.tolist(), boxes, strict=True)
        ]
        infos = [
            ImageInfo(4, "first", *SHAPES[0], modality="ct", source="A", case="1"),
            ImageInfo(
                7, "second", *SHAPES[1], modality="mr", source="B", case="2", valid=second_is_valid
            ),
        ]
        objects = [
            ObjectInfo(0, "square", 32 * 32),
            ObjectInfo(3, "triangle", 32 * 33 // 2),
            ObjectInfo(0, "bar", 16 * 32),
        ]
        return ImageBatch(
            images=torch.full((2, 3, SIDE, SIDE), 90, dtype=torch.uint8),
            targets=Targets(
                masks=masks,
                boxes=torch.stack(model_boxes),
                image_index=index,
                keys=torch.tensor([11, 22, 33]),
                sizes=torch.tensor([[64, 32], [32, 64]]),
            ),
            infos=infos,
            objects=objects,
            original_masks=[PackedMasks.of(m) for m in originals] if with_original else None,
            original_boxes=boxes if with_original else None,
        )

    return build


@pytest.fixture
def evaluate(model):
    from syncsam_lightning.evaluation.runner import evaluate_batch
    from syncsam_lightning.interaction import get_protocol

    def run(batch, name="box", **kwargs):
        features = model.encode(batch.images, batch.targets.sizes)
        return evaluate_batch(model, features, batch, get_protocol(name), **kwargs)

    return run


@pytest.fixture
def score():
    def build(dice, *, protocol="box", source="A", modality="ct", label="liver", **kwargs):
        values = {
            "index": 0,
            "image_id": "i",
            "mask_id": 0,
            "case": "c",
            "version": 1,
            "area": 10,
            "iou": dice / (2 - dice),
            "fill_box_dice": 0.5,
        }
        return MaskScore(
            dice=dice,
            protocol=protocol,
            source=source,
            modality=modality,
            label=label,
            **(values | kwargs),
        )

    return build
