"""What a protocol prompts for: the masks of a batch as they are, or each class as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.resize import nearest_pixels
from syncsam_lightning.geometry import PackedMasks
from syncsam_lightning.interaction import MaskRule, Unit
from syncsam_lightning.models import InputSpec
from syncsam_lightning.prompts import foreground_clicks
from syncsam_lightning.seeding import mask_key

_EPOCH = 0


def with_unit(batch: ImageBatch, unit: Unit) -> ImageBatch:
    """Return a batch whose objects are what a protocol scores.

    Args:
        batch: from an evaluation loader.
        unit: ``"mask"`` returns the batch itself. ``"class"`` joins the masks that share image and
            label; the joined object has the first one's ``mask_id``, place and key.

    Raises:
        ValueError: the batch has no masks at the original resolution.
    """
    masks, boxes = originals(batch)
    groups = _groups(batch) if unit == "class" else []
    if len(groups) in (0, len(batch.objects)):
        return batch
    old, images = batch.targets, batch.targets.image_index.tolist()
    leaders = torch.tensor([members[0] for members in groups], device=old.image_index.device)
    joined = _joined_masks(masks, images, groups)
    areas = [int(mask.sum()) for of_image in joined for mask in of_image]
    return replace(
        batch,
        targets=replace(
            old,
            masks=torch.stack([old.masks[members].any(dim=0) for members in groups]),
            boxes=_joined_boxes(old.boxes, groups),
            image_index=old.image_index[leaders],
            keys=old.keys[leaders],
            first_points=None,
        ),
        objects=[
            replace(batch.objects[members[0]], area=area)
            for members, area in zip(groups, areas, strict=True)
        ],
        original_masks=joined,
        original_boxes=_joined_boxes(boxes, groups),
    )


def with_mask_rule(batch: ImageBatch, rule: MaskRule, spec: InputSpec) -> ImageBatch:
    """Return a batch whose masks at the model's size follow from the original ones by a rule.

    An object of which the rule leaves no pixel keeps the mask that it has in the batch.

    Args:
        batch: from an evaluation loader.
        rule: ``"area"`` returns the batch itself, whose masks follow it.
        spec: of the model, which tells how images lie in its square.

    Raises:
        ValueError: the batch has no masks at the original resolution.
    """
    if rule == "area":
        return batch
    masks, _ = originals(batch)
    squares, begin = batch.targets.masks.clone(), 0
    for info, of_image in zip(batch.infos, masks, strict=True):
        plan = spec.plan(info.height, info.width)
        (top, left), (height, width) = plan.origin, plan.resized
        rows, columns = (
            torch.from_numpy(nearest_pixels(old, new, rule)).to(of_image.bits.device)
            for old, new in ((info.height, height), (info.width, width))
        )
        for position, mask in enumerate(of_image, start=begin):
            taken = mask[rows[:, None], columns].to(squares.device)
            squares[position, top : top + height, left : left + width] = taken
        begin += len(of_image)
    is_left = squares.any(dim=2).any(dim=1)[:, None, None]
    squares = torch.where(is_left, squares, batch.targets.masks)
    return replace(batch, targets=replace(batch.targets, masks=squares))


def with_seed(batch: ImageBatch, seed: int) -> ImageBatch:
    """Return a batch whose simulated clicks are a function of (seed, image id, mask id).

    Args:
        batch: the images and objects.
        seed: other seeds give independent clicks.
    """
    images = batch.targets.image_index.tolist()
    keys = [
        mask_key(seed, _EPOCH, batch.infos[image].id, entry.mask_id)
        for image, entry in zip(images, batch.objects, strict=True)
    ]
    device = batch.targets.keys.device
    keyed = torch.tensor(keys, dtype=torch.int64, device=device)
    return replace(batch, targets=replace(batch.targets, keys=keyed))


def with_first_clicks(batch: ImageBatch, spec: InputSpec) -> ImageBatch:
    """Return a batch that decides where each object is clicked first: uniform on the original mask.

    Args:
        batch: with masks at the original resolution.
        spec: of the model, into whose frame the clicks are brought.

    Raises:
        ValueError: the batch has no masks at the original resolution.
    """
    all_masks, _ = originals(batch)
    points, begin = [batch.targets.boxes.new_zeros(0, 2)], 0
    for info, of_image in zip(batch.infos, all_masks, strict=True):
        keys = batch.targets.keys[begin : begin + len(of_image)]
        begin += len(of_image)
        plan = spec.plan(info.height, info.width)
        for part in of_image.parts():
            masks = of_image[part]
            clicks = foreground_clicks(masks, keys[part].to(masks.device), draw=0)
            points.append(plan.points_to_model(clicks.points[:, 0]).to(keys.device))
    return replace(batch, targets=replace(batch.targets, first_points=torch.cat(points)))


def originals(batch: ImageBatch) -> tuple[Sequence[PackedMasks], Tensor]:
    """Return masks and boxes at the original resolution; see :class:`ImageBatch`.

    Raises:
        ValueError: the batch has none.
    """
    if batch.original_masks is None or batch.original_boxes is None:
        raise ValueError("evaluation needs masks at the original resolution: use another loader")
    return batch.original_masks, batch.original_boxes


def _groups(batch: ImageBatch) -> list[list[int]]:
    """Return the positions of the objects of each class on each image, in order of the first."""
    groups: dict[tuple[int, str], list[int]] = {}
    for position, image in enumerate(batch.targets.image_index.tolist()):
        groups.setdefault((image, batch.objects[position].label), []).append(position)
    return list(groups.values())


def _joined_boxes(boxes: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    corners = [
        torch.cat([boxes[members, :2].amin(dim=0), boxes[members, 2:].amax(dim=0)])
        for members in map(list, groups)
    ]
    return torch.stack(corners)


def _joined_masks(
    masks: Sequence[PackedMasks], images: Sequence[int], groups: Sequence[Sequence[int]]
) -> list[PackedMasks]:
    joined: list[list[PackedMasks]] = [[] for _ in masks]
    for members in groups:
        image = images[members[0]]
        begin = images.index(image)
        joined[image].append(masks[image].union([member - begin for member in members]))
    return [
        PackedMasks.joined(of_image) if of_image else empty
        for of_image, empty in zip(joined, masks, strict=True)
    ]
