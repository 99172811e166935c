"""Pictures of predictions: image, prompt, truth, prediction, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.prompts.prompts import BACKGROUND, FOREGROUND

COLUMNS = ("image", "prompt", "truth", "prediction")
_CAPTION_HEIGHT = 18
_BACKGROUND = 24
_COLOURS = {FOREGROUND: (40, 220, 80), BACKGROUND: (240, 60, 60)}
_TRUTH = (40, 200, 90)
_PREDICTION = (255, 150, 30)
_BOX = (255, 220, 40)


@dataclass(frozen=True, slots=True)
class Panel:
    """One row of a picture.

    Args:
        pixels: ``(3, h, 4 · (side + 2))`` uint8: the four columns side by side, all of one width
            whatever the shape of the image.
        caption: what it shows.
    """

    pixels: Tensor
    caption: str


def draw_panels(
    batch: ImageBatch, evaluation: BatchEvaluation, *, limit: int, side: int = 192
) -> list[Panel]:
    """Draw some objects of a batch, evenly spread over it.

    Args:
        batch: the images and objects.
        evaluation: what was predicted for them.
        limit: how many objects at most.
        side: side of each column in pixels.
    """
    panels: list[Panel] = []
    scores = {(s.image_id, s.mask_id): s.dice for s in evaluation.scores}
    images = batch.targets.image_index.tolist()
    for position in _spread([batch.infos[image].valid for image in images], limit):
        image = images[position]
        info, entry = batch.infos[image], batch.objects[position]
        truth = batch.targets.masks[position].cpu()
        answer = evaluation.predictions[image][position - images.index(image)].cpu()
        score = scores[info.id, entry.mask_id]
        panels.append(
            Panel(
                _panel(batch, evaluation, position, truth, answer, side),
                f"{evaluation.protocol.name}  {entry.label}  DSC {score:.2f}  {info.id}",
            )
        )
    return panels


def _spread(usable: Sequence[bool], limit: int) -> list[int]:
    """Return at most ``limit`` of the positions that are true, at equal distances."""
    positions = np.flatnonzero(usable)
    steps = np.arange(min(limit, len(positions))) + 0.5
    chosen: list[int] = positions[
        (steps * len(positions) / max(len(steps), 1)).astype(int)
    ].tolist()
    return chosen


def stack_panels(panels: Sequence[Panel]) -> np.ndarray:
    """Put panels under one another, each below its caption, with the columns' names on top.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    width = max(panel.pixels.shape[2] for panel in panels)
    rows = [_strip(COLUMNS, width)]
    for panel in panels:
        pixels = panel.pixels.permute(1, 2, 0).numpy()
        filled = np.full((pixels.shape[0], width, 3), _BACKGROUND, np.uint8)
        filled[:, : pixels.shape[1]] = pixels
        rows += [_strip([panel.caption], width), filled]
    return np.concatenate(rows)


def _strip(texts: Sequence[str], width: int) -> np.ndarray:
    """Write texts side by side, each at the start of its share of the width."""
    strip = Image.new("RGB", (width, _CAPTION_HEIGHT), (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(strip)
    for number, text in enumerate(texts):
        draw.text((4 + number * width // len(texts), 3), text, fill=(235, 235, 235))
    return np.asarray(strip)


def _panel(
    batch: ImageBatch,
    evaluation: BatchEvaluation,
    position: int,
    truth: Tensor,
    answer: Tensor,
    side: int,
) -> Tensor:
    image_index = int(batch.targets.image_index[position])
    height, width = batch.targets.sizes[image_index].tolist()
    part = batch.targets.image_part(image_index)
    scale = side / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))

    def shown(mask: Tensor) -> Tensor:
        return F.interpolate(mask[None, None].float(), shape, mode="nearest-exact")[0, 0] > 0.5

    pixels = batch.images[image_index, :, *part].cpu()
    image = F.interpolate(pixels[None].float(), shape, mode="bilinear")[0].round().byte()
    columns = (
        image,
        _with_prompt(image, evaluation, position, (part[1].start, part[0].start), scale),
        draw_segmentation_masks(image, shown(truth[part]), alpha=0.5, colors=_TRUTH),
        draw_segmentation_masks(image, shown(answer), alpha=0.5, colors=_PREDICTION),
    )
    gap = side + 2 - shape[1]
    return torch.cat([F.pad(column, (0, gap), value=_BACKGROUND) for column in columns], dim=2)


def _with_prompt(
    image: Tensor,
    evaluation: BatchEvaluation,
    position: int,
    origin_xy: tuple[int, int],
    scale: float,
) -> Tensor:
    prompts = evaluation.rounds[-1]
    if prompts.boxes is not None:
        limit = torch.tensor([image.shape[2], image.shape[1]] * 2) - 1
        shifted = prompts.boxes[position].cpu() - torch.tensor(origin_xy * 2)
        box = torch.minimum((shifted * scale).round(), limit)
        image = draw_bounding_boxes(image, box[None], colors=[_BOX], width=2)
    if prompts.points is None or prompts.point_labels is None:
        return image
    canvas = Image.fromarray(image.permute(1, 2, 0).numpy())
    draw = ImageDraw.Draw(canvas)
    left, top = origin_xy
    points, labels = prompts.points[position].tolist(), prompts.point_labels[position].tolist()
    for (x, y), label in zip(points, labels, strict=True):
        if label in _COLOURS:
            centre = ((x - left + 0.5) * scale, (y - top + 0.5) * scale)
            draw.circle(centre, 4, fill=_COLOURS[label], outline=(255, 255, 255))
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)
