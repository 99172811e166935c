"""An object in a volume, from prompts on one or a few of its slices."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt

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

SURE_OVERLAP = 0.9
"""Least overlap of two neighbouring masks (see :class:`StopRule`) for an answer to a click."""

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
        drawn: the slices that hold a part of the mask, in order.
        scores: stability score by number of slice, of all in ``drawn`` and of the prompted ones.
        ends: why the propagation stopped, by the number of the last slice it drew on and direction
            (``"up"``, ``"down"``).
    """

    mask: np.ndarray = field(repr=False)
    plane: Plane
    drawn: tuple[int, ...]
    scores: Mapping[int, float]
    ends: Mapping[tuple[int, str], str]

    @property
    def runs(self) -> list[tuple[int, int]]:
        """First and last slice of each part without a gap."""
        breaks = [(low, high) for low, high in pairwise(self.drawn) if high > low + 1]
        firsts = [*self.drawn[:1], *(high for _, high in breaks)]
        lasts = [*(low for low, _ in breaks), *self.drawn[-1:]]
        return list(zip(firsts, lasts, strict=True))

    @property
    def holes(self) -> list[tuple[int, int]]:
        """First and last slice of each gap within the object."""
        return [(low + 1, high - 1) for (_, low), (high, _) in pairwise(self.runs)]


class VolumePredictor:
    """Segments volumes slice by slice: prompts on one slice, carried on to its neighbours.

    From a prompted slice it goes both ways. The next slice is prompted with the box of the last
    mask, grown by :data:`MARGIN`, and with that mask itself (if the model takes masks), until the
    stop rule or the end of the volume. Before the stop rule ends it, the slice is asked about once
    more, by the box and a click in the middle of the last mask, and it goes on if the answer lies
    on that mask almost wholly (:data:`SURE_OVERLAP`). Between two prompted slices each goes
    halfway; where one stops earlier, the other goes on towards it.

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
        """Make a volume the one that is asked about; one that can't be used leaves none.

        Args:
            volume: a volume, or the path of a file (NIfTI, NRRD, MetaImage) or of a folder with
                one DICOM series.

        Returns:
            the volume.

        Raises:
            BrokenInputError: it can't be read.
            MissingPackageError: a package for its format is not installed.
        """
        self._volume = None
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
        slices, rows, columns = self._slices.stack.shape[:3]
        return slices, rows, columns

    @property
    def _slices(self) -> _Slices:
        if self._volume is None:
            raise NoImageError("there is no volume yet: call set_volume first")
        return self._volume

    def predict(
        self,
        prompts: SlicePrompt | Sequence[SlicePrompt],
        *,
        progress: Callable[[int], object] | None = None,
    ) -> VolumePrediction:
        """Segment one object.

        Args:
            prompts: about the object, one or several, at most one for each slice.
            progress: called with the number of each slice that was looked at.

        Raises:
            NoImageError: there is no volume.
            InvalidPromptError: there is no prompt, or one is not about a slice of the volume, lies
                outside it or stands twice.
            UnsupportedPromptError: the model does not take this kind of prompt; or it takes no
                boxes, without which nothing can be propagated.
        """
        prompts = [prompts] if isinstance(prompts, SlicePrompt) else prompts
        slices, given = self._slices, self._checked(prompts)
        numbers = sorted(given)
        drawing = _Drawing(np.zeros(slices.stack.shape[:3], bool), progress)
        fronts: list[_Front] = []
        for number, (lowest, highest) in zip(numbers, self._reaches(numbers), strict=True):
            first = slices.ask(number, given[number])
            drawing.looked_at(number)
            drawing.add(number, first)
            reason = None if first.masks[0].any() else "the mask is empty"
            down, up = (_Front(step, number, first, reason) for step in (-1, 1))
            self._advance(down, lowest, drawing)
            if fronts:  # whichever ended early leaves the rest of the gap to the other
                below = fronts[-1]
                self._advance(below, down.last - 1, drawing)
                self._advance(down, below.last + 1, drawing)
            self._advance(up, highest, drawing)
            fronts += [down, up]
        mask = unstacked(drawing.masks, slices.volume, slices.plane)
        return VolumePrediction(
            mask, slices.plane, drawing.drawn, drawing.scores, self._ends(fronts)
        )

    def _advance(self, front: _Front, limit: int, drawing: _Drawing) -> None:
        """Draw on from where a front stands to ``limit``, unless it has ended or ends before."""
        while self.propagate and front.reason is None and front.last != limit:
            number = front.last + front.step
            answer, front.reason = self._carried(number, front.answer)
            drawing.looked_at(number)
            if front.reason is None:
                front.last, front.answer = number, answer
                drawing.add(number, answer)

    def _carried(self, number: int, before: Prediction) -> tuple[Prediction, str | None]:
        """Answer on the next slice; and say why the object ends before it, if it does."""
        answer = self._slices.follow(number, before)
        reason = _broken(self.stop, before, answer)
        if reason is None or "points" not in self.predictor.model.input_spec.prompts:
            return answer, reason
        # A previous mask can lead astray where a click doesn't. A click finds something on every
        # slice, though: it is believed only where that lies on the last mask almost wholly.
        clicked = self._slices.click(number, before)
        strict = replace(self.stop, min_overlap=max(SURE_OVERLAP, self.stop.min_overlap))
        if _broken(strict, before, clicked) is None:
            return clicked, None
        return answer, reason

    def _ends(self, fronts: Sequence[_Front]) -> dict[tuple[int, str], str]:
        slices = len(self._slices.stack)
        ends: dict[tuple[int, str], str] = {}
        for front in fronts:
            direction, edge = ("up", slices - 1) if front.step > 0 else ("down", 0)
            if front.reason is not None:
                ends[front.last, direction] = front.reason
            elif self.propagate and slices > 1:
                is_edge = front.last == edge
                reason = "the volume ends" if is_edge else "another prompt takes over"
                ends[front.last, direction] = reason
        return ends

    def _reaches(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """Return the first and last slice that each prompted slice goes to before all others."""
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
            if not isinstance(prompt.slice, int | np.integer):
                raise InvalidPromptError(
                    f"the number of a slice is a whole number from 0 to {count - 1}, got "
                    f"{prompt.slice!r}"
                )
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

    @property
    def drawn(self) -> tuple[int, ...]:
        return tuple(number for number in sorted(self.scores) if self.masks[number].any())

    def looked_at(self, number: int) -> None:
        if self.progress:
            self.progress(number)

    def add(self, number: int, prediction: Prediction) -> None:
        self.masks[number], self.scores[number] = prediction.masks[0], float(prediction.scores[0])


@dataclass(slots=True)
class _Front:
    """How far an object is carried from a prompted slice in one direction."""

    step: int  # 1 up, -1 down
    last: int  # slice that was drawn on
    answer: Prediction  # on it
    reason: str | None  # why the object ends there; None: it may go on


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

    def click(self, number: int, before: Prediction) -> Prediction:
        self._use(number)
        mask = before.masks[0]
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        return self.predictor.predict(points=[[x, y]], labels=[1], box=_grown_box(mask))

    def _use(self, number: int) -> None:
        if number in self._encoded:
            self._encoded.move_to_end(number)
        else:
            grey = self.window.grey(self.stack[number])
            self._encoded[number] = encode_image(self.predictor.model, rgb_pixels(grey))
            if len(self._encoded) > _CACHED_SLICES:
                self._encoded.popitem(last=False)
        self.predictor.use(self._encoded[number])


def _broken(stop: StopRule, before: Prediction, after: Prediction) -> str | None:
    return stop.reason(before.masks[0], after.masks[0], float(after.scores[0]))


def _grown_box(mask: np.ndarray) -> list[float]:
    """Return the box of a mask with room for the object to be larger on the next slice."""
    ((x0, y0, x1, y1),) = masks_to_boxes(torch.from_numpy(mask)[None]).tolist()
    wide, high = max(1.0, MARGIN * (x1 - x0)), max(1.0, MARGIN * (y1 - y0))
    height, width = mask.shape
    return [max(0.0, x0 - wide), max(0.0, y0 - high), min(width, x1 + wide), min(height, y1 + high)]
