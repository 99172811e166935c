"""The gallery of the paper's Figure 2: image with its prompt, truth, and the mask of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from PIL import Image

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.first_prompts import read_first_prompts
from syncsam_lightning.evaluation.comparison.results import Run
from syncsam_lightning.evaluation.examples import (
    EXAMPLES,
    Answer,
    Example,
    example_rank,
    read_examples,
)

_SIDE = 512
_INCHES = 1.6
_WIDEST = 1.5
_TRUTH = (40, 200, 90)
_ANSWER = (255, 150, 30)
_PROMPT = "#ffdc28"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the gallery: one mask of an image.

    Args:
        example: the image.
        answers: of each model that was measured on it.
        prompt: box ``x0, y0, x1, y1`` and first click ``x, y`` in original pixels; NaN for what
            there wasn't, None if prompts weren't recorded.
    """

    example: Example
    answers: Mapping[str, Answer]
    prompt: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a gallery shows.

    Args:
        rows: from top to bottom; none if there is nothing to show.
        notes: what a reader should know.
    """

    rows: Sequence[Row]
    notes: Sequence[str]


def choose_rows(
    runs: Sequence[Run], protocol: str, *, images: int | Sequence[str] | None, seed: int
) -> Choice:
    """Choose images that were kept for all models, and of each its largest mask.

    Args:
        runs: the models. Of several runs of one the first that kept images is shown; models that
            kept none with the protocol are left out.
        protocol: whose answers.
        images: how many, drawn by their ids; or which; None: one of each modality.
        seed: of the choice.

    Raises:
        ComparisonError: a named image wasn't kept, or models were measured on other masks.
        ExamplesError: a file of examples is damaged.
    """
    kept: dict[str, dict[str, Example]] = {}
    folders: list[Path] = []
    for run in runs:
        path = run.folder / EXAMPLES
        if run.model in kept or not path.is_file():
            continue
        if of_run := _with_answers(read_examples(path), protocol):
            kept[run.model] = of_run
            folders.append(run.folder)
    without = [model for model in dict.fromkeys(run.model for run in runs) if model not in kept]
    notes = []
    if without:
        notes.append(f"gallery: no images with {protocol} were kept for {', '.join(without)}")
    if not kept:
        return Choice([], notes)
    first = next(iter(kept.values()))
    common = [name for name in first if all(name in of_run for of_run in kept.values())]
    if not common:
        notes.append(f"gallery: no image was kept for all of {', '.join(kept)}")
    chosen = _chosen({name: first[name].modality for name in common}, images, seed)
    prompts = read_first_prompts(folders[0], chosen)
    rows = []
    for name in chosen:
        answers = _answers({model: of_run[name] for model, of_run in kept.items()}, protocol)
        if not answers:
            continue
        prompt = None
        if prompts is not None:
            mask_id = next(iter(answers.values())).mask_id
            named = (prompts["image_id"] == name) & (prompts["mask_id"] == mask_id)
            found = prompts[named & (prompts["protocol"] == protocol)].to_dict("records")
            prompt = found[0] if found else None
        rows.append(Row(first[name], answers, prompt))
    return Choice(rows, notes)


def _with_answers(examples: Sequence[Example], protocol: str) -> dict[str, Example]:
    return {
        example.image_id: example
        for example in examples
        if any(answer.protocol == protocol for answer in example.answers)
    }


def _chosen(
    modalities: Mapping[str, str], images: int | Sequence[str] | None, seed: int
) -> list[str]:
    if images is not None and not isinstance(images, int):
        if unknown := [name for name in images if name not in modalities]:
            raise ComparisonError(
                f"images: {', '.join(unknown)} was not kept for all models, which have "
                f"{', '.join(sorted(modalities)) or 'none in common'}; measure the models with "
                "--examples.image_ids to keep others"
            )
        return list(images)
    drawn = sorted(modalities, key=lambda name: (example_rank(name, seed), name))
    if images is not None:
        return sorted(drawn[:images], key=lambda name: modalities[name])
    of_each = {modalities[name]: name for name in reversed(drawn)}
    return [of_each[modality] for modality in sorted(of_each)]


def _answers(examples: Mapping[str, Example], protocol: str) -> dict[str, Answer]:
    """Return what the models answered for the largest mask that was kept for all of them."""
    answers = {
        model: {a.mask_id: a for a in example.answers if a.protocol == protocol}
        for model, example in examples.items()
    }
    first = next(iter(answers.values()))
    common = [n for n in first if all(n in of_model for of_model in answers.values())]
    if not common:
        return {}
    largest = min(common, key=lambda n: (-int(first[n].truth.sum()), n))
    found = {model: of_model[largest] for model, of_model in answers.items()}
    for model, answer in found.items():
        if not np.array_equal(answer.truth, first[largest].truth):
            raise ComparisonError(
                f"mask {largest} of image {examples[model].image_id} differs between "
                f"{next(iter(found))} and {model}: measure the models on the same table"
            )
    return found


def draw_gallery(rows: Sequence[Row], models: Sequence[str]) -> Figure:
    """Draw rows of image with prompt, truth, and each model's mask with its DSC.

    Args:
        rows: at least one.
        models: columns, in order; those without an answer are left out.
    """
    columns = [model for model in models if any(model in row.answers for row in rows)]
    shape = (len(rows), 2 + len(columns))
    width = _INCHES * min(max(_aspect(row) for row in rows), _WIDEST)
    figure = Figure(
        figsize=(width * shape[1] + 0.5, _INCHES * shape[0] + 0.3),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0),
    )
    grid: Any = figure.subplots(*shape, squeeze=False)
    for axes, title in zip(grid[0], ("image and prompt", "truth", *columns), strict=True):
        axes.set_title(title, fontsize=8)
    for row, line in zip(rows, grid, strict=True):
        _draw_row(row, line, columns)
    return figure


def _aspect(row: Row) -> float:
    """Return width by height."""
    height, width = next(iter(row.answers.values())).truth.shape
    return float(width / height)


def _draw_row(row: Row, line: Sequence[Axes], columns: Sequence[str]) -> None:
    answer = next(iter(row.answers.values()))
    height, width = answer.truth.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = np.asarray(Image.fromarray(row.example.picture).resize(size))
    for axes in line:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    line[0].imshow(picture)
    _draw_prompt(line[0], row.prompt, scale)
    line[0].set_ylabel(
        f"{row.example.modality}\n{answer.label}\n{row.example.image_id}", fontsize=6
    )
    line[1].imshow(_overlaid(picture, answer.truth, _TRUTH))
    best = max(f"{found.dice:.3f}" for found in row.answers.values())
    for axes, model in zip(line[2:], columns, strict=True):
        found = row.answers.get(model)
        if found is None:
            continue
        axes.imshow(_overlaid(picture, found.answer, _ANSWER))
        is_best = len(columns) > 1 and f"{found.dice:.3f}" == best
        axes.text(
            0.03,
            0.04,
            f"{found.dice * 100:.1f}",
            transform=axes.transAxes,
            color="white",
            fontsize=8,
            fontweight="bold" if is_best else "normal",
            bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "linewidth": 0},
        )


def _draw_prompt(axes: Axes, prompt: Mapping[str, float] | None, scale: float) -> None:
    if prompt is None:
        return
    x0, y0, x1, y1 = (prompt[name] * scale - 0.5 for name in ("x0", "y0", "x1", "y1"))
    if np.isfinite(x0):
        box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=_PROMPT, linewidth=1.2)
        axes.add_patch(box)
    if np.isfinite(prompt["x"]):
        x, y = ((prompt[name] + 0.5) * scale - 0.5 for name in ("x", "y"))
        axes.plot(x, y, "o", color=_PROMPT, markersize=5, markeredgecolor="black")


def _overlaid(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the picture with the mask as a tint and its outline in full colour."""
    size = (picture.shape[1], picture.shape[0])
    shown = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    tinted = picture.astype(float)
    tinted[shown] = 0.6 * tinted[shown] + 0.4 * np.array(colour)
    tinted[_outline(shown)] = colour
    return tinted.round().astype(np.uint8)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that have a neighbour outside it."""
    around = np.pad(mask, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    outline: np.ndarray = mask & ~inner
    return outline
