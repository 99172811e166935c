"""Objects with different numbers of points, each decoded as if it were alone."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from syncsam_lightning.prompts import PADDING, Prompts


def decode_unpadded(decode: Callable[[Prompts], Tensor], prompts: Prompts) -> Tensor:
    """Answer prompts without the padding that fills up objects with fewer points.

    For SAM's prompt encoder a point of label -1 is not nothing: each becomes a token that says "not
    a point" (``not_a_point_embed``), which the decoder attends to like any other, so that a mask
    would depend on how many points the other objects have. Here objects of equal numbers of points
    are decoded together. An object whose points are all padding is asked by its box and mask.

    Args:
        decode: returns ``(n, s, s)`` mask logits for prompts of n objects.
        prompts: of N objects, each with a box, a mask or a point that is none of padding.

    Returns:
        ``(N, s, s)``.
    """
    points, labels = prompts.points, prompts.point_labels
    if points is None or labels is None:
        return decode(prompts)
    is_point = labels != PADDING
    counts = is_point.sum(1)
    if bool(is_point.all()):
        return decode(prompts)
    answers: Tensor | None = None
    for count in sorted(set(counts.tolist())):
        members = (counts == count).nonzero()[:, 0]
        part, kept = prompts[members], is_point[members]
        logits = decode(
            Prompts(
                part.image_index,
                boxes=part.boxes,
                points=points[members][kept].reshape(-1, count, 2) if count else None,
                point_labels=labels[members][kept].reshape(-1, count) if count else None,
                mask_logits=part.mask_logits,
            )
        )
        if answers is None:
            answers = logits.new_empty(prompts.num_objects, *logits.shape[1:])
        answers[members] = logits
    assert answers is not None
    return answers
