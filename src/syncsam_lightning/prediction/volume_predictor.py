"""An object in a volume, from prompts on one or a few of its slices."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike

from syncsam_lightning.errors import InvalidPromptError, UnsupportedPromptError
from syncsam_lightning.geometry import masks_to_boxes
from syncsam_lightning.prediction.answer import Prediction
from syncsam_lightning.prediction.encoding import EncodedImage, encode_image
from syncsam_lightning.prediction.pictures import rgb_pixels
from syncsam_lightning.prediction.predictor import NoImageError, Predictor
from syncsam_lightning.prediction.stop_rule import StopRule
from syncsam_lightning.volumes import Plane, Volume, Window, coarsest_plane, stack_of, unstacked
from syncsam_lightning.volumes.reading import read_volume

MARGIN = 0.1
"""By how much of its sides the box of a mask grows on every side for the next slice."""

_CACHED_SLICES = 128  # encoded slices kept for further objects, about a megabyte each


@dataclass(frozen=True)
class SlicePrompt:
    """What a user says about an object on one slice, in the pixels of that slice.

    Args:
        slice: number of the slice in the plane.
        box: ``(4,)`` x0, y0, x1, y1, or None.
        points: ``(P, 2)`` x, y, or None.
        labels: ``(P,)`` 1 object, 0 background; None: all are on the object.
    """

    slice: int
    box: ArrayLike | None = None
    points: ArrayLike | None = None
    labels: ArrayLike | None = None


@dataclass(frozen=True)
class VolumePrediction:
    """An object in a volume.

    Args:
        mask: ``(I, J, K)`` bool, in the order of the file.
        plane: in which it was segmented.
        scores: stability score of each slice that was drawn on, by number of slice.
        ends: why the propagation stopped, by the number of the last slice it drew on and direction
            (``"up"``, ``"down"``).
    """

    mask: np.ndarray = field(repr=False)
    plane: Plane
    scores: Mapping[int, float]
    ends: Mapping[tuple[int, str], str]


class VolumePredictor:
    """Segments volumes slice by slice: prompts on one slice, carried on to its neighbours.

    From a prompted slice it goes both ways. The next slice is prompted with the box of the last
    mask, grown by :data:`MARGIN`, and with that mask itself (if the model takes masks), until the
    stop rule or the end of the volume. Between two prompted slices each goes halfway.

    Args:
        predictor: with the model.
        window: which intensities become black and white.
        plane: in which slices are cut; None: the one with the coarsest resolution.
        stop: when an object ends.
        propagate: False: only the prompted slices are segmented, as with a box for each slice.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        window: Window | None = None,
        plane: Plane | None = None,
        stop: StopRule | None = None,
        propagate: bool = True,
    ) -> None:
        self.predictor, self.plane, self.propagate = predictor, plane, propagate
        self.window, self.stop = window or Window(), stop or StopRule()
        self._volume: _Slices | None = None

    def set_volume(self, volume: Volume | str | os.PathLike[str]) -> Volume:
        """Make a volume the one that is asked about.

        Args:
            volume: a volume, or the path of a NIfTI file or of a folder with one DICOM series.

        Returns:
            the volume.

        Raises:
            BrokenInputError: it can't be read.
            MissingPackageError: it is DICOM and pydicom is not installed.
        """
        if not isinstance(volume, Volume):
            volume = read_volume(volume)
        plane = self.plane or coarsest_plane(volume)
        stack = stack_of(volume, plane)
        self._volume = _Slices(self.predictor, volume, plane, stack, self.window.fitted(stack))
        return volume

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the volume at hand, in the plane.

        Raises:
            NoImageError: there is no volume.
        """
        slices, rows, columns = self._slices.stack.shape
        return slices, rows, columns

    @property
    def _slices(self) -> _Slices:
        if self._volume is None:
            raise NoImageError("there is no volume yet: call set_volume first")
        return self._volume

    def predict(
        self, prompts: Sequence[SlicePrompt], *, progress: Callable[[int], object] | None = None
    ) -> VolumePrediction:
        """Segment one object.

        Args:
            prompts: about the object, at most one for each slice.
            progress: called with the number of each slice that was looked at.

        Raises:
            NoImageError: there is no volume.
            InvalidPromptError: there is no prompt, or one is not about a slice of the volume, lies
                outside it or stands twice.
            UnsupportedPromptError: the model does not take this kind of prompt; or it takes no
                boxes, without which nothing can be propagated.
        """
        slices, given = self._slices, self._checked(prompts)
        numbers = sorted(given)
        drawn = _Drawing(np.zeros(slices.stack.shape, bool), progress)
        ends: dict[tuple[int, str], str] = {}
        for number, (lowest, highest) in zip(numbers, self._reaches(numbers), strict=True):
            first = slices.ask(number, given[number])
            drawn.looked_at(number)
            drawn.add(number, first)
            for direction, limit in (("down", lowest), ("up", highest)):
                if not first.masks[0].any():
                    ends[number, direction] = "the mask is empty"
                elif self.propagate and len(slices.stack) > 1:
                    last, reason = self._carry(first, number, limit, drawn)
                    ends[last, direction] = reason
        mask = unstacked(drawn.masks, slices.volume, slices.plane)
        return VolumePrediction(mask, slices.plane, drawn.scores, ends)

    def _carry(
        self, before: Prediction, start: int, limit: int, drawn: _Drawing
    ) -> tuple[int, str]:
        """Draw from ``start`` (left out) to ``limit``; return the last slice, and why it is."""
        step = 1 if limit > start else -1
        last = start
        while last != limit:
            answer = self._slices.follow(last + step, before)
            drawn.looked_at(last + step)
            reason = self.stop.reason(before.masks[0], answer.masks[0], float(answer.scores[0]))
            if reason is not None:
                return last, reason
            last, before = last + step, answer
            drawn.add(last, answer)
        is_edge = limit in (0, len(self._slices.stack) - 1)
        return last, "the volume ends" if is_edge else "another prompt is nearer"

    def _reaches(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """Return the first and last slice that each prompted slice is responsible for."""
        if not self.propagate:
            return [(number, number) for number in numbers]
        borders = [(low + high) // 2 for low, high in pairwise(numbers)]
        starts = [0, *(border + 1 for border in borders)]
        return list(zip(starts, [*borders, len(self._slices.stack) - 1], strict=True))

    def _checked(self, prompts: Sequence[SlicePrompt]) -> dict[int, SlicePrompt]:
        if not prompts:
            raise InvalidPromptError("there is no prompt: give a box or points on a slice")
        count = len(self._slices.stack)
        given: dict[int, SlicePrompt] = {}
        for prompt in prompts:
            if not 0 <= prompt.slice < count:
                raise InvalidPromptError(
                    f"there is no slice {prompt.slice}: the {self._slices.plane} slices go from 0 "
                    f"to {count - 1}"
                )
            if prompt.slice in given:
                raise InvalidPromptError(
                    f"slice {prompt.slice} is prompted twice for one object: put box and points "
                    "into one prompt"
                )
            given[prompt.slice] = prompt
        model = self.predictor.model
        if self.propagate and "boxes" not in model.input_spec.prompts:
            raise UnsupportedPromptError(
                f"{type(model).__name__} takes no boxes, so that it can't follow an object from "
                "slice to slice: prompt every slice, with propagate=False"
            )
        return given


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is drawn of an object so far."""

    masks: np.ndarray
    progress: Callable[[int], object] | None
    scores: dict[int, float] = field(default_factory=dict)

    def looked_at(self, number: int) -> None:
        if self.progress:
            self.progress(number)

    def add(self, number: int, prediction: Prediction) -> None:
        self.masks[number], self.scores[number] = prediction.masks[0], float(prediction.scores[0])


class _Slices:
    """The slices of a volume, encoded when they are asked about."""

    def __init__(
        self,
        predictor: Predictor,
        volume: Volume,
        plane: Plane,
        stack: np.ndarray,
        window: Window,
    ) -> None:
        self.predictor, self.volume, self.plane = predictor, volume, plane
        self.stack, self.window = stack, window
        self._encoded: OrderedDict[int, EncodedImage] = OrderedDict()

    def ask(self, number: int, prompt: SlicePrompt) -> Prediction:
        self._use(number)
        try:
            return self.predictor.predict(prompt.points, prompt.labels, prompt.box)
        except InvalidPromptError as error:
            raise InvalidPromptError(f"slice {number}: {error}") from error

    def follow(self, number: int, before: Prediction) -> Prediction:
        self._use(number)
        takes_masks = "masks" in self.predictor.model.input_spec.prompts
        return self.predictor.predict(
            box=_grown_box(before.masks[0]),
            mask=before.low_res_logits if takes_masks else None,
        )

    def _use(self, number: int) -> None:
        if number in self._encoded:
            self._encoded.move_to_end(number)
        else:
            grey = self.window.grey(self.stack[number])
            self._encoded[number] = encode_image(self.predictor.model, rgb_pixels(grey))
            if len(self._encoded) > _CACHED_SLICES:
                self._encoded.popitem(last=False)
        self.predictor.use(self._encoded[number])


def _grown_box(mask: np.ndarray) -> list[float]:
    """Return the box of a mask with room for the object to be larger on the next slice."""
    ((x0, y0, x1, y1),) = masks_to_boxes(torch.from_numpy(mask)[None]).tolist()
    wide, high = max(1.0, MARGIN * (x1 - x0)), max(1.0, MARGIN * (y1 - y0))
    height, width = mask.shape
    return [max(0.0, x0 - wide), max(0.0, y0 - high), min(width, x1 + wide), min(height, y1 + high)]
