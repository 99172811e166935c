"""A few test images with what a model answered on them, kept for drawings; needs no torch."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from syncsam_lightning.errors import ExamplesError
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.whole_files import whole_file

EXAMPLES = "examples.parquet"
"""The file of examples in a result folder."""

_ANSWER = pa.struct(
    [
        ("protocol", pa.string()),
        ("mask_id", pa.int32()),
        ("label", pa.string()),
        ("truth", pa.binary()),
        ("answer", pa.binary()),
    ]
)
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("source", pa.string()),
        ("modality", pa.string()),
        ("picture", pa.binary()),
        ("answers", pa.list_(_ANSWER)),
    ]
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered for one mask under one protocol.

    Args:
        protocol: name.
        mask_id: number of the mask within the image.
        label: class name.
        truth: ``(H, W)`` bool at the original resolution.
        answer: the same for the model's mask.
    """

    protocol: str
    mask_id: int
    label: str
    truth: np.ndarray
    answer: np.ndarray

    @property
    def dice(self) -> float:
        """DSC in [0, 1]; two empty masks agree: 1."""
        total = int(self.truth.sum()) + int(self.answer.sum())
        return 2 * int((self.truth & self.answer).sum()) / total if total else 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """An image and some of the answers on it.

    Args:
        image_id: id of the image.
        source, modality: of the image.
        picture: ``(h, w, 3)`` uint8 RGB, at the size the model saw, which differs from that of the
            masks.
        answers: by protocol and mask.
    """

    image_id: str
    source: str
    modality: str
    picture: np.ndarray
    answers: Sequence[Answer]


def example_rank(image_id: str, seed: int) -> int:
    """Return the place of an image in a draw of examples: those with the lowest are taken.

    A function of the id alone, so that runs of any model keep the same images, whatever the order
    of the data and the number of ranks.
    """
    return stable_key("example", seed, image_id)


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as Parquet with PNGs in it; the file appears whole or not at all."""
    rows = [
        {
            "image_id": example.image_id,
            "source": example.source,
            "modality": example.modality,
            "picture": _png(example.picture),
            "answers": [
                {
                    "protocol": answer.protocol,
                    "mask_id": answer.mask_id,
                    "label": answer.label,
                    "truth": _png(answer.truth),
                    "answer": _png(answer.answer),
                }
                for answer in example.answers
            ],
        }
        for example in examples
    ]
    with whole_file(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), file)


def read_examples(path: Path) -> list[Example]:
    """Read what :func:`write_examples` wrote.

    Raises:
        ExamplesError: the file is missing, damaged or something else.
    """
    if not path.is_file():
        raise ExamplesError(f"{path} does not exist: `syncsam test` writes it")
    try:
        table = pq.read_table(path, columns=_SCHEMA.names).cast(_SCHEMA)
        _check_complete(table)
        return [_example(row) for row in table.to_pylist()]
    except (pa.ArrowException, OSError, ValueError, Image.DecompressionBombError) as error:
        # PIL's UnidentifiedImageError is an OSError.
        raise ExamplesError(f"{path} can't be read: {error}; remove it to go on") from error


def _check_complete(table: pa.Table) -> None:
    answers = pc.list_flatten(table["answers"])
    parts = {name: table[name] for name in _SCHEMA.names} | {"an answer": answers}
    parts |= {field.name: pc.struct_field(answers, field.name) for field in _ANSWER}
    if empty := [name for name, values in parts.items() if values.null_count]:
        raise ValueError(f"it lacks values for {', '.join(empty)}")


def _example(row: dict[str, Any]) -> Example:
    answers = [
        Answer(
            entry["protocol"],
            entry["mask_id"],
            entry["label"],
            _pixels(entry["truth"], "1"),
            _pixels(entry["answer"], "1"),
        )
        for entry in row["answers"]
    ]
    picture = _pixels(row["picture"], "RGB")
    return Example(row["image_id"], row["source"], row["modality"], picture, answers)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _pixels(data: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image.convert(mode))
