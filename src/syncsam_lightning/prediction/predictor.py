"""Masks for an image, from boxes, points and masks in its own pixels."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from syncsam_lightning.errors import InvalidPromptError, SyncSAMError
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.interaction import Feedback, InteractiveSession, dense_prompt
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.prediction.answer import Prediction, prediction_of
from syncsam_lightning.prediction.checkpoint import load_trained
from syncsam_lightning.prediction.encoding import EncodedImage, encode_image
from syncsam_lightning.prediction.pictures import ImageFormat, Picture, rgb_pixels

# A mask drawn by a person as logits: as sure as a well-trained model is inside an object.
_SURE = 8.0


class DeviceError(SyncSAMError):
    """A device was asked for that is not there."""


class NoImageError(SyncSAMError):
    """A predictor was asked before it was given an image."""


class Predictor:
    """Segments images with a promptable model: the shape of SAM's ``SamPredictor``.

    ::

        predictor = Predictor.from_checkpoint("best.ckpt")
        predictor.set_image("scan.png")
        masks, scores, low_res_logits = predictor.predict(box=[30, 40, 120, 160])
        better = predictor.click([[80, 100]], labels=[0])
        before = predictor.undo()

    An image is encoded once and prompted any number of times. :meth:`predict` says everything
    anew, :meth:`click` corrects the last answer; both are turns that :meth:`undo` takes back.
    Coordinates are pixels of the original image, x to the right and y down; a point names the
    pixel in column x and row y; a box is half open, so that ``x1 - x0`` is its width.

    Args:
        model: any promptable model, put in eval mode.
        device: where to compute: a device's name, or ``"auto"``: a CUDA GPU if there is one.
        feedback: how the model gets its own answers back; None: as its ``input_spec`` says.

    Raises:
        DeviceError: there is no such device.
    """

    def __init__(
        self,
        model: PromptableModel,
        *,
        device: str | torch.device = "auto",
        feedback: Feedback | None = None,
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.model = model.to(device).eval()
        except (RuntimeError, AssertionError) as error:  # how torch says that there is no such one
            reason = next(iter(str(error).splitlines()), "")
            raise DeviceError(f"cannot compute on device {str(device)!r}: {reason}") from error
        self.feedback: Feedback = feedback or model.input_spec.feedback
        self._image: EncodedImage | None = None
        self._session: InteractiveSession | None = None

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        model: PromptableModel | None = None,
        *,
        sam_checkpoint: str | os.PathLike[str] | None = None,
        device: str | torch.device = "auto",
    ) -> Predictor:
        """Load a trained model; nothing that the file holds is executed.

        Args:
            path: a checkpoint of ``syncsam fit``, a folder or a hub's repository, which say what
                model they are of (see :mod:`syncsam_lightning.hub`); or weights alone in a known
                layout (see :func:`syncsam_lightning.models.load_weights`).
            model: for weights alone that don't show which model they are of, such as MedSAM's: a
                model to load them into.
            sam_checkpoint: where SAM's frozen weights are, which our checkpoints leave out:
                ``auto``, a path, or ``none``. By default where training found them.
            device: see the class.

        Raises:
            WeightsError: the file can't be read or does not fit, or weights that it leaves out are
                not to be had; the message says what to do.
            HubError: a folder or repository can't be read.
        """
        return cls(load_trained(path, model, sam_checkpoint=sam_checkpoint), device=device)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def is_image_set(self) -> bool:
        """Whether there is an image to ask about."""
        return self._image is not None

    @property
    def image(self) -> EncodedImage:
        """The image at hand; it outlives :meth:`set_image` of another.

        Raises:
            NoImageError: there is none.
        """
        if self._image is None:
            raise NoImageError("there is no image yet: call set_image first")
        return self._image

    @property
    def session(self) -> InteractiveSession:
        """The turns about the image at hand.

        Raises:
            NoImageError: there is no image.
        """
        if self._session is None:
            raise NoImageError("there is no image yet: call set_image first")
        return self._session

    def set_image(self, image: Picture, image_format: ImageFormat = "RGB") -> EncodedImage:
        """Encode an image and forget the one before, even if this one can't be used.

        Args:
            image: ``(H, W)`` or ``(H, W, 1 or 3 or 4)`` of any number type, or the path of an image
                file; see :func:`~syncsam_lightning.prediction.rgb_pixels` for what is made of grey,
                16-bit and transparent images.
            image_format: order of the channels of an array; OpenCV's is ``"BGR"``.

        Returns:
            the encoded image; :meth:`use` goes back to it without encoding it again.

        Raises:
            InvalidImageError: the array is no image.
            BrokenInputError: the file can't be read.
        """
        self.reset_image()  # so that nobody asks about the image before where this one fails
        encoded = encode_image(self.model, rgb_pixels(image, image_format))
        self.use(encoded)
        return encoded

    def use(self, image: EncodedImage) -> None:
        """Ask about an image that this predictor encoded before, with nothing said about it yet.

        Raises:
            ValueError: another model encoded it.
        """
        if image.model is not self.model:
            raise ValueError("the image was encoded by another model")
        self._image, self._session = image, image.session(self.feedback)

    def reset_image(self) -> None:
        """Forget the image and all that was said about it."""
        self._image = self._session = None

    def predict(
        self,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Prediction:
        """Segment the objects that the prompts are about, whatever was said before.

        Prompts of one object may leave the leading axis out. Several kinds together are about the
        same objects.

        Args:
            points: ``(P, 2)`` or ``(N, P, 2)`` x, y.
            labels: ``(P,)`` or ``(N, P)`` 1 object, 0 background, -1 padding (for objects with
                fewer points); None: all are on the object.
            box: ``(4,)`` or ``(N, 4)`` x0, y0, x1, y1.
            mask: ``(S/4, S/4)`` or ``(N, S/4, S/4)`` float: ``low_res_logits`` of an earlier
                answer. Or ``(H, W)`` or ``(N, H, W)`` bool: a mask at the original size.

        Returns:
            N masks with their scores and logits.

        Raises:
            NoImageError: there is no image.
            InvalidPromptError: there is no prompt, a coordinate lies outside the image, or shapes
                don't fit; the message says which and what is allowed.
            UnsupportedPromptError: the model does not take this kind of prompt.
        """
        session = self.session
        turn = session.prompt(
            boxes=None if box is None else _tensor(box, "box", 2),
            points=None if points is None else _tensor(points, "points", 3),
            labels=_labels(points, labels),
            mask_logits=None if mask is None else self._dense(mask, session.plan),
        )
        return prediction_of(turn.logits, session.plan)

    def click(self, points: ArrayLike, labels: ArrayLike | None = None) -> Prediction:
        """Correct the last answer with further points; without one, they are the first.

        The model sees all points so far and its last answer, as in training and in the protocols.

        Args:
            points: see :meth:`predict`.
            labels: see :meth:`predict`.

        Raises:
            NoImageError: there is no image.
            InvalidPromptError: see :meth:`predict`; or the points are not about the objects of the
                last answer.
            UnsupportedPromptError: the model takes no points.
        """
        session = self.session
        given = _labels(points, labels)
        assert given is not None
        turn = session.click(_tensor(points, "points", 3), given)
        return prediction_of(turn.logits, session.plan)

    def undo(self) -> Prediction | None:
        """Take the last turn back and return the answer before it, or None if it was the first.

        Raises:
            NoImageError: there is no image.
            InvalidPromptError: there is no turn to take back.
        """
        turn = self.session.undo()
        return None if turn is None else prediction_of(turn.logits, self.session.plan)

    def redo(self) -> Prediction:
        """Return to the answer that was last taken back.

        Raises:
            NoImageError: there is no image.
            InvalidPromptError: nothing was taken back.
        """
        return prediction_of(self.session.redo().logits, self.session.plan)

    def _dense(self, mask: ArrayLike, plan: ResizePlan) -> Tensor:
        given = np.asarray(mask)
        given = given[None] if given.ndim == 2 else given
        side = self.model.input_spec.mask_size
        if given.dtype == bool:
            if given.ndim != 3 or given.shape[1:] != (plan.height, plan.width):
                raise InvalidPromptError(
                    f"a bool mask has the size of the image, (N, {plan.height}, {plan.width}), "
                    f"got {given.shape}"
                )
            masks = torch.from_numpy(given)
            parts = [_mask_logits(masks[part], plan, side) for part in plan.parts(len(masks))]
            return dense_prompt(torch.cat(parts), self.feedback)
        if given.dtype.kind != "f" or given.ndim != 3 or given.shape[1:] != (side, side):
            raise InvalidPromptError(
                f"mask is low_res_logits of an earlier answer, (N, {side}, {side}) float, or a "
                f"bool mask at the image's size; got {given.dtype} of shape {given.shape}"
            )
        if not np.isfinite(given).all():
            raise InvalidPromptError("mask holds values that are not finite")
        return dense_prompt(torch.from_numpy(given), self.feedback)


def _mask_logits(masks: Tensor, plan: ResizePlan, side: int) -> Tensor:
    """Return ``(N, H, W)`` bool masks as the ``(N, side, side)`` logits of a model that is sure."""
    (top, left), (height, width) = plan.origin, plan.resized
    square = torch.zeros(len(masks), 1, plan.size, plan.size)
    resized = F.interpolate(masks[:, None].float(), (height, width), mode="area")
    square[..., top : top + height, left : left + width] = resized
    share = F.interpolate(square, (side, side), mode="area")[:, 0]
    return (share * 2 - 1) * _SURE


def _tensor(values: ArrayLike, name: str, axes: int) -> Tensor:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        if _is_ragged(values):
            raise InvalidPromptError(
                f"{name} holds rows of different lengths: a box is x0, y0, x1, y1, a point x, y; "
                "objects with fewer points are filled up with any point of label -1"
            ) from error
        raise InvalidPromptError(f"{name} holds something other than numbers: {error}") from error
    return torch.from_numpy(array[None] if array.ndim == axes - 1 else array)


def _is_ragged(values: ArrayLike) -> bool:
    try:
        items = np.asarray(values, object)
    except ValueError:  # arrays of which only the last axes differ
        return True
    return any(isinstance(item, list | tuple | np.ndarray) for item in items.flat)


def _labels(points: ArrayLike | None, labels: ArrayLike | None) -> Tensor | None:
    if labels is None:
        if points is None:
            return None
        given = _tensor(points, "points", 3)
        return torch.ones(given.shape[:2], dtype=torch.int64)
    array = _tensor(labels, "labels", 2)
    if not bool((array == array.round()).all()):
        raise InvalidPromptError("labels are 1 (object), 0 (background) or -1 (padding)")
    return array.to(torch.int64)
