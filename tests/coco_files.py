"""COCO files and their images, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as tools

HEIGHT, WIDTH = 23, 31
SQUARE = [4, 4, 12, 4, 12, 11, 4, 11]


def mask_of(seed: int) -> np.ndarray:
    return np.asfortranarray(np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.4)


def runs(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[0], mask.ravel(order="F").astype(int), [0]])
    edges = [0, *np.flatnonzero(np.diff(flat)).tolist(), mask.size]
    counts = np.diff(edges).tolist()
    return counts if counts[-1] else counts[:-1]


def compressed(mask: np.ndarray) -> dict[str, Any]:
    found = tools.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def image(number: int = 1, name: str = "a.png", **other: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH} | other


def annotation(number: int, segmentation: Any, **other: Any) -> dict[str, Any]:
    given = {"id": number, "image_id": 1, "category_id": 3, "iscrowd": 0, "bbox": [1, 1, 5, 5]}
    return given | ({} if segmentation is None else {"segmentation": segmentation}) | other


def content(*annotations: Any, images: Any = None) -> dict[str, Any]:
    return {
        "info": {"year": 2026, "nested": [{"images": [1]}]},
        "annotations": list(annotations),
        "categories": [{"id": 3, "name": "polyp", "supercategory": "x"}, {"id": 5}],
        "images": [image()] if images is None else images,
    }


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 90).save(path, **options)


def root_with(root: Path, coco: Any, name: str = "annotations.json") -> Path:
    picture(root / "images" / "a.png")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(coco))
    return root
