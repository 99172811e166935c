"""Segment an image with encoder.onnx and decoder.onnx. Needs numpy and onnxruntime, nothing else.

Copy this file and change it. It also runs by itself, with a folder, an image and a box, and writes
mask.npy: python onnx_pair.py exported image.npy 30 40 120 160
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

FIRST_CORNER, LAST_CORNER, NOTHING = 2, 3, -1


class OnnxPair:
    """One object on one image, in the image's own pixels.

    Args:
        folder: that ``syncsam export onnx`` wrote.
    """

    def __init__(self, folder: str | Path) -> None:
        self.encoder = onnxruntime.InferenceSession(str(Path(folder, "encoder.onnx")))
        self.decoder = onnxruntime.InferenceSession(str(Path(folder, "decoder.onnx")))
        kept = self.decoder.get_modelmeta().custom_metadata_map
        self.size, self.mask_size = json.loads(kept["size"]), json.loads(kept["mask_size"])
        self.fit, self.feedback = json.loads(kept["fit"]), json.loads(kept["feedback"])
        self.kinds = set(json.loads(kept["prompts"]))
        self.features: dict[str, np.ndarray] = {}

    def set_image(self, image: np.ndarray) -> None:
        """Encode an image, see :func:`rgb`: the slow step, once for all prompts."""
        image = rgb(image)
        self.place(image.shape[:2])
        (top, left), (height, width) = self.corner, self.inside
        square = np.zeros((self.size, self.size, 3), np.float32)
        square[top : top + height, left : left + width] = np.rint(
            resample(image, self.inside, by_area=True)
        )
        inputs = {"images": square.transpose(2, 0, 1)[None], "sizes": self.inside[None]}
        taken = {entry.name for entry in self.encoder.get_inputs()}
        outputs = [entry.name for entry in self.encoder.get_outputs()]
        answer = self.encoder.run(None, {key: inputs[key] for key in taken})
        self.features = dict(zip(outputs, answer, strict=True))

    def place(self, shape: tuple[int, int]) -> None:
        """Decide where an image of ``shape`` lies in the square: its size there and its corner."""
        self.shape, self.corner = np.array(shape), np.zeros(2, int)
        self.inside = np.array([self.size, self.size])
        if self.fit == "center" and self.shape.max() < self.size:
            self.inside = self.shape
            self.corner = (self.size - self.shape) // 2
        elif self.fit == "pad":
            scaled = (self.shape * (self.size / self.shape.max()) + 0.5).astype(int)
            self.inside = np.maximum(1, scaled)

    def decode(
        self,
        *,
        box: Sequence[float] | np.ndarray | None = None,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        previous: np.ndarray | None = None,
    ) -> np.ndarray:
        """Answer a prompt: ``(s, s)`` float32 logits of the square, the object where above 0.

        Args:
            box: x0, y0, x1, y1; half open, so that x1 - x0 is its width.
            points: ``(P, 2)``: x, y of each click.
            labels: ``(P,)``: 1 object or 0 background; None: all lie on the object.
            previous: an earlier answer, ``(s, s)`` logits. Correct it by all clicks so far, without
                the box.

        Raises:
            ValueError: a prompt is not on the image, not what its name says, or missing.
        """
        if not self.features:
            raise ValueError("there is no image yet: call set_image first")
        given = {"boxes": box, "points": points, "masks": previous}
        if unknown := {kind for kind, value in given.items() if value is not None} - self.kinds:
            raise ValueError(f"the model takes {sorted(self.kinds)}, not {sorted(unknown)}")
        side = self.mask_size
        mask = np.zeros((side, side), np.float32)
        if previous is not None:
            logits = numbers("previous", previous, (side, side))
            if not np.isfinite(logits).all() or np.asarray(previous).dtype == bool:
                raise ValueError(
                    "previous is an answer of decode, finite logits; it is something else"
                )
            mask = 1 / (1 + np.exp(-logits)) if self.feedback == "sigmoid" else logits
        coords, kinds = self.prompt(box, points, labels)
        inputs = {
            **self.features,
            "image_index": np.zeros(1, np.int64),
            "point_coords": coords[None].astype(np.float32),
            "point_labels": np.array([kinds], np.int64),
            "mask_input": mask[None].astype(np.float32),
            "has_mask_input": np.array([previous is not None]),
        }
        taken = {entry.name for entry in self.decoder.get_inputs()}
        (logits,) = self.decoder.run(None, {key: inputs[key] for key in taken})
        return logits[0]

    def prompt(
        self,
        box: Sequence[float] | np.ndarray | None,
        points: Sequence[Sequence[float]] | np.ndarray | None,
        labels: Sequence[int] | np.ndarray | None,
    ) -> tuple[np.ndarray, list[int]]:
        """Check clicks and box and bring them into the square: ``(P, 2)`` x, y and P labels."""
        limit = self.shape[::-1]  # as x, y, like everything below
        scale, corner = self.inside[::-1] / limit, self.corner[::-1]
        clicks = np.zeros((0, 2)) if points is None else numbers("points", points, (None, 2))
        given = [1] * len(clicks) if labels is None else np.asarray(labels).tolist()
        if (
            not isinstance(given, list)
            or len(given) != len(clicks)
            or any(k not in (0, 1) for k in given)
        ):
            raise ValueError(f"labels are 1 or 0 for each of {len(clicks)} points, got {labels}")
        kinds = [int(kind) for kind in given]
        if not ((clicks >= -0.5) & (clicks < limit - 0.5)).all():
            raise ValueError(f"points {points} are not all on the image, {limit} pixels")
        coords = (clicks + 0.5) * scale - 0.5 + corner
        if box is not None:
            ends = numbers("box", box, (4,)).reshape(2, 2)
            if not ((ends[0] < ends[1]) & (ends[0] >= 0) & (ends[1] <= limit)).all():
                raise ValueError(f"box {box} is not x0 < x1, y0 < y1 on the image, {limit} pixels")
            return np.vstack([coords, ends * scale + corner]), [*kinds, FIRST_CORNER, LAST_CORNER]
        if not len(clicks):
            raise ValueError("there is no prompt: give a box or points")
        return np.vstack([coords, np.zeros((1, 2))]), [*kinds, NOTHING]

    def to_image(self, logits: np.ndarray) -> np.ndarray:
        """Bring an answer to the image's size: ``(H, W)`` bool."""
        square = resample(logits[..., None], (self.size, self.size), by_area=False)
        (top, left), (height, width) = self.corner, self.inside
        inside = square[top : top + height, left : left + width]
        return resample(inside, self.shape, by_area=False)[..., 0] > 0


def numbers(name: str, value: object, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return what was given for ``name`` as float64 of a shape; None in it stands for any length.

    Raises:
        ValueError: it has another shape, or is no array of numbers.
    """
    expected = "(" + ", ".join("P" if side is None else str(side) for side in shape) + ")"
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {expected} numbers: {error}") from error
    if None in shape and array.shape == (0,):  # how an empty list looks
        array = array.reshape([side or 0 for side in shape])
    sides = zip(array.shape, shape, strict=False)
    if array.ndim != len(shape) or any(side not in (found, None) for found, side in sides):
        raise ValueError(f"{name} must be {expected} numbers, got the shape {array.shape}")
    return array


def rgb(image: np.ndarray) -> np.ndarray:
    """Return ``(H, W, 3)``; grey ``(H, W)`` is repeated, the alpha of RGBA ``(H, W, 4)`` dropped.

    Raises:
        ValueError: it is no uint8, or no image.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image is a numpy array, got {type(image).__name__}")
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"an image is (H, W), (H, W, 3) or (H, W, 4), got {image.shape}")
    if image.dtype != np.uint8:
        raise ValueError(f"an image is uint8, got {image.dtype}: bring its values to 0..255")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def resample(image: np.ndarray, shape: tuple[int, int] | np.ndarray, by_area: bool) -> np.ndarray:
    """Resize ``(H, W, C)`` to ``shape``: bilinear, but ``by_area`` sides that shrink by area."""
    rows, columns = (
        area_weights(new, old) if by_area and new < old else bilinear_weights(new, old)
        for new, old in zip(shape, image.shape[:2], strict=True)
    )
    return np.einsum("yh,hwc,xw->yxc", rows, image, columns, optimize=True)


def area_weights(new: int, old: int) -> np.ndarray:
    """Return ``(new, old)``: how much of each new pixel each old one covers."""
    edges, pixels = np.arange(new + 1)[:, None] * old / new, np.arange(old)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return shared.clip(0) * new / old


def bilinear_weights(new: int, old: int) -> np.ndarray:
    """Return ``(new, old)``: weights of the two old pixels next to each new one's centre."""
    centres = ((np.arange(new)[:, None] + 0.5) * old / new - 0.5).clip(0, old - 1)
    return (1 - abs(centres - np.arange(old))).clip(0)


def main(arguments: list[str]) -> None:
    """Segment one image by a box and write mask.npy; arguments as the file's first lines say.

    Raises:
        ValueError: one of them can't be used; the message says why.
        OSError: a file can't be read or written.
    """
    if len(arguments) != 6:
        raise ValueError("usage: python onnx_pair.py FOLDER IMAGE.npy X0 Y0 X1 Y1")
    folder, file, *corners = arguments
    with Path(file).open("rb") as opened:
        if opened.read(6) != b"\x93NUMPY":
            raise ValueError(f"{file} is no .npy file: np.save the pixels of the image, uint8")
    for name in ("encoder.onnx", "decoder.onnx"):
        if not Path(folder, name).is_file():
            raise ValueError(f"{folder} has no {name}: give a folder of `syncsam export onnx`")
    box = numbers("box", corners, (4,))
    pair = OnnxPair(folder)
    pair.set_image(np.load(file))
    np.save("mask.npy", pair.to_image(pair.decode(box=box)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(str(error))
