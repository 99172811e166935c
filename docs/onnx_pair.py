"""Segment an image with encoder.onnx and decoder.onnx. Needs numpy and onnxruntime, nothing else.

Copy this file and change it. It also runs by itself, with a folder, an image and a box, and writes
mask.npy: python onnx_pair.py exported image.npy 30 40 120 160
"""

from __future__ import annotations

import json
import sys
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

    def set_image(self, image: np.ndarray) -> None:
        """Encode ``(H, W, 3)`` uint8 RGB: the slow step, once for all prompts."""
        self.place(image.shape[:2])
        (top, left), (height, width) = self.corner, self.inside
        square = np.zeros((self.size, self.size, 3), np.float32)
        square[top : top + height, left : left + width] = np.rint(
            resample(image, self.inside, by_area=(self.inside < self.shape).any())
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
        box: list[float] | None = None,
        points: list[list[float]] | None = None,
        labels: list[int] | None = None,
        previous: np.ndarray | None = None,
    ) -> np.ndarray:
        """Answer a prompt: ``(s, s)`` float32 logits of the square, the object where above 0.

        Args:
            box: x0, y0, x1, y1; half open, so that x1 - x0 is its width.
            points: x, y of each click.
            labels: of each click, 1 object or 0 background.
            previous: an earlier answer. Correct it by all clicks so far, without the box.
        """
        scale, corner = (self.inside / self.shape)[::-1], self.corner[::-1]  # as x, y
        coords = [(np.array(point) + 0.5) * scale - 0.5 + corner for point in points or []]
        kinds = list(labels or [])
        if box is not None:
            coords += [np.array(box[:2]) * scale + corner, np.array(box[2:]) * scale + corner]
            kinds += [FIRST_CORNER, LAST_CORNER]
        else:
            coords, kinds = [*coords, np.zeros(2)], [*kinds, NOTHING]
        mask = np.zeros((self.mask_size, self.mask_size), np.float32)
        if previous is not None:
            mask = 1 / (1 + np.exp(-previous)) if self.feedback == "sigmoid" else previous
        inputs = {
            **self.features,
            "image_index": np.zeros(1, np.int64),
            "point_coords": np.array([coords], np.float32),
            "point_labels": np.array([kinds], np.int64),
            "mask_input": mask[None],
            "has_mask_input": np.array([previous is not None]),
        }
        taken = {entry.name for entry in self.decoder.get_inputs()}
        (logits,) = self.decoder.run(None, {key: inputs[key] for key in taken})
        return logits[0]

    def to_image(self, logits: np.ndarray) -> np.ndarray:
        """Bring an answer to the image's size: ``(H, W)`` bool."""
        square = resample(logits[..., None], (self.size, self.size), by_area=False)
        (top, left), (height, width) = self.corner, self.inside
        inside = square[top : top + height, left : left + width]
        return resample(inside, self.shape, by_area=False)[..., 0] > 0


def resample(image: np.ndarray, shape: tuple[int, int] | np.ndarray, by_area: bool) -> np.ndarray:
    """Resize ``(H, W, C)`` to ``shape``: by area, as images that shrink, or bilinear."""
    weights = area_weights if by_area else bilinear_weights
    rows, columns = (weights(new, old) for new, old in zip(shape, image.shape[:2], strict=True))
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


if __name__ == "__main__":
    folder, image, *corners = sys.argv[1:]
    pair = OnnxPair(folder)
    pair.set_image(np.load(image))
    np.save("mask.npy", pair.to_image(pair.decode(box=[float(corner) for corner in corners])))
