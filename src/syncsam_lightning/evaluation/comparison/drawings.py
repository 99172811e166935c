"""The drawings of a comparison, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from syncsam_lightning.evaluation.comparison.box_plot import draw_box_plot
from syncsam_lightning.evaluation.comparison.gallery import Row, draw_gallery
from syncsam_lightning.evaluation.comparison.pairing import PairedScores

_DPI = 200


def write_drawings(paired: PairedScores, rows: Sequence[Row], folder: Path) -> list[str]:
    """Write the gallery and a box plot per protocol, each as PNG and, for papers, as PDF.

    Args:
        paired: the scores.
        rows: of the gallery; without any there is none.
        folder: where to; made if need be.

    Returns:
        the names of the PNGs.
    """
    figures: dict[str, Figure] = {}
    if rows:
        figures["gallery"] = draw_gallery(rows, paired.models)
    for protocol in paired.protocols:
        figures[f"modalities_{protocol}"] = draw_box_plot(paired, protocol)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for suffix in ("png", "pdf"):
            figure.savefig(folder / f"{name}.{suffix}", dpi=_DPI, bbox_inches="tight")
    return [f"{name}.png" for name in figures]
