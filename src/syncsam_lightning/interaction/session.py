"""The human user's side of the loop: turns on one image that can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from syncsam_lightning.errors import InvalidPromptError
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.interaction.feedback import Feedback, dense_prompt
from syncsam_lightning.interaction.rounds import Round, play_round
from syncsam_lightning.interaction.unpadded import decode_unpadded
from syncsam_lightning.prompts import BACKGROUND, FOREGROUND, PADDING, Prompts


class InteractiveSession:
    """A person's turns on one image that was encoded once.

    Each turn is played by the same :func:`play_round` as those of a simulated user. The history is
    immutable: a turn makes a new one, undo goes back to the one before. All coordinates are pixels
    of the original image, x to the right and y down; they are checked and then mapped by the plan.

    The N objects of a turn all lie on this image. Several objects that are corrected one by one
    take a session each, over the same ``decode``.

    Args:
        decode: returns ``(N, S/4, S/4)`` mask logits for prompts, for example a model's ``decode``
            with the features already given.
        plan: how the image lies in the model's square.
        feedback: how :meth:`click` gives the previous answer back; None: not at all, for models
            that take no masks.
        device: where the prompts go.
    """

    def __init__(
        self,
        decode: Callable[[Prompts], Tensor],
        plan: ResizePlan,
        *,
        feedback: Feedback | None = "logits",
        device: torch.device | str = "cpu",
    ) -> None:
        self.plan, self.feedback, self.device = plan, feedback, torch.device(device)
        self._decode = decode
        self._past: tuple[Round, ...] = ()
        self._undone: tuple[Round, ...] = ()

    @property
    def history(self) -> tuple[Round, ...]:
        """The turns that count, oldest first, with detached logits."""
        return self._past

    @property
    def can_redo(self) -> bool:
        """Whether a turn was taken back and nothing was said since."""
        return bool(self._undone)

    @property
    def logits(self) -> Tensor | None:
        """``(N, S/4, S/4)`` the last answer; None before the first turn."""
        return self._past[-1].logits if self._past else None

    def prompt(
        self,
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        mask_logits: Tensor | None = None,
    ) -> Round:
        """Ask with exactly these prompts, whatever was said before.

        Args:
            boxes: ``(N, 4)`` half-open ``x0, y0, x1, y1`` in original pixels.
            points: ``(N, P, 2)`` x, y in original pixels.
            labels: ``(N, P)`` 1 foreground, 0 background, -1 padding: the model is not shown its
                point, so that an object is answered as it would be alone.
            mask_logits: ``(N, S/4, S/4)`` an earlier answer, as it is to be shown to the model.

        Returns:
            The turn: prompts in model pixels, and the answer.

        Raises:
            InvalidPromptError: the message says which value is wrong and what is allowed.
            UnsupportedPromptError: the model can't use this kind of prompt.
        """
        given = [value for value in (boxes, points, labels, mask_logits) if value is not None]
        if not given:
            raise InvalidPromptError("there is no prompt: give a box, points or a mask")
        if (points is None) != (labels is None):
            raise InvalidPromptError(
                "points and labels go together: for each point 1 (object) or 0 (background)"
            )
        if boxes is not None:
            boxes = self._checked_boxes(boxes)
        if points is not None and labels is not None:
            points, labels = self._checked_points(points, labels)
        try:
            prompts = Prompts(
                torch.zeros(len(given[0]), dtype=torch.int64),
                boxes=None if boxes is None else self.plan.boxes_to_model(boxes),
                points=None if points is None else self.plan.points_to_model(points),
                point_labels=labels,
                mask_logits=mask_logits,
            )
        except ValueError as error:
            raise InvalidPromptError(f"the prompts don't fit together: {error}") from error
        return self._play(prompts.to(self.device))

    def box(self, boxes: Tensor) -> Round:
        """Ask with boxes alone; see :meth:`prompt`."""
        return self.prompt(boxes=boxes)

    def click(self, points: Tensor, labels: Tensor) -> Round:
        """Correct the last answer: new clicks on top of the earlier ones, and the answer itself.

        Earlier clicks are the points of the last :meth:`prompt` and what was clicked since. As the
        simulated user does in training and in the protocols, the box is not shown again: the answer
        that is given back knows it.

        Args:
            points: ``(N, P, 2)`` x, y in original pixels, of the N objects of the turn before.
            labels: ``(N, P)`` 1 foreground, 0 background, -1 padding.

        Returns:
            see :meth:`prompt`.

        Raises:
            InvalidPromptError: see :meth:`prompt`; or N differs from the turn before.
            UnsupportedPromptError: the model takes no points.
        """
        if self.logits is None:
            return self.prompt(points=points, labels=labels)
        points, labels = self._checked_points(points, labels)
        if len(points) != len(self.logits):
            raise InvalidPromptError(
                f"clicks for {len(points)} objects, but the turn before was about "
                f"{len(self.logits)}: give one row of clicks for each, with label -1 where there "
                "is nothing to correct"
            )
        points, labels = self.plan.points_to_model(points).to(self.device), labels.to(self.device)
        # The last turn alone: a click holds all since the prompt before it, and what was clicked
        # before a prompt may be about another object.
        last = self._past[-1].prompts
        if last.points is not None and last.point_labels is not None:
            points = torch.cat([last.points, points], dim=1)
            labels = torch.cat([last.point_labels, labels], dim=1)
        mask = None if self.feedback is None else dense_prompt(self.logits, self.feedback)
        index = torch.zeros(len(points), dtype=torch.int64, device=self.device)
        return self._play(Prompts(index, points=points, point_labels=labels, mask_logits=mask))

    def undo(self) -> Round | None:
        """Take the last turn back and return the one before it; None: nothing is said any more.

        Raises:
            InvalidPromptError: there is no turn to take back.
        """
        if not self._past:
            raise InvalidPromptError("there is nothing to undo")
        *past, last = self._past
        self._past, self._undone = tuple(past), (*self._undone, last)
        return self._past[-1] if self._past else None

    def redo(self) -> Round:
        """Return to the turn that was last taken back.

        Raises:
            InvalidPromptError: there is none.
        """
        if not self._undone:
            raise InvalidPromptError("there is nothing to redo")
        *rest, turn = self._undone
        self._past, self._undone = (*self._past, turn), tuple(rest)
        return turn

    def reset(self) -> None:
        """Forget every turn; the image stays."""
        self._past = self._undone = ()

    @torch.inference_mode()
    def _play(self, prompts: Prompts) -> Round:
        if bool((prompts.count_given == 0).any()):
            number = int((prompts.count_given == 0).nonzero()[0])
            raise InvalidPromptError(
                f"object {number} (counted from 0) has no prompt: all its labels are -1, padding"
            )
        turn = play_round(partial(decode_unpadded, self._decode), prompts, self._past)
        turn = replace(turn, logits=turn.logits.detach())
        # Only now, so that a turn that the model refuses leaves the history as it was.
        self._past, self._undone = (*self._past, turn), ()
        return turn

    def _checked_boxes(self, boxes: Tensor) -> Tensor:
        boxes = torch.as_tensor(boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
            raise InvalidPromptError(f"boxes must be (N, 4), got {tuple(boxes.shape)}")
        boxes = boxes.double()
        height, width = self.plan.height, self.plan.width
        limit = torch.tensor([width, height, width, height], dtype=torch.float64)
        for row, box in zip(boxes.tolist(), boxes.cpu(), strict=True):
            shown = ", ".join(f"{value:g}" for value in row)
            if not torch.isfinite(box).all():
                raise InvalidPromptError(f"box {shown} holds a value that is no number")
            if box[0] >= box[2] or box[1] >= box[3]:
                raise InvalidPromptError(
                    f"box {shown} is empty: it is x0, y0, x1, y1 with x0 < x1 and y0 < y1"
                )
            if (box < 0).any() or (box > limit).any():
                raise InvalidPromptError(
                    f"box {shown} reaches beyond the image, which is {width} wide and {height} high"
                )
        return boxes

    def _checked_points(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        points, labels = torch.as_tensor(points), torch.as_tensor(labels)
        if points.ndim != 3 or points.shape[2] != 2 or 0 in points.shape:
            raise InvalidPromptError(f"points must be (N, P, 2), got {tuple(points.shape)}")
        if labels.shape != points.shape[:2]:
            raise InvalidPromptError(
                f"labels must be {tuple(points.shape[:2])}, one for each point, "
                f"got {tuple(labels.shape)}"
            )
        known = (FOREGROUND, BACKGROUND, PADDING)
        if unknown := set(labels.flatten().tolist()) - set(known):
            raise InvalidPromptError(
                f"labels are 1 (object), 0 (background) or -1 (padding), got {min(unknown)}"
            )
        points = points.double()
        height, width = self.plan.height, self.plan.width
        for (x, y), label in zip(points.reshape(-1, 2).tolist(), labels.flatten(), strict=True):
            # Pixel centres are whole numbers, so that a pixel reaches half a pixel around them.
            if label != PADDING and not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
                raise InvalidPromptError(
                    f"point {x:g}, {y:g} lies outside the image: x goes from 0 to {width - 1}, "
                    f"y from 0 to {height - 1}"
                )
        return points, labels.to(torch.int64)
