"""Putting evaluated models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def compare(
    results: list[str],
    *,
    output: str = "compare",
    paper: Literal["table2", "table3", "table4"] | None = None,
    unit: Literal["case", "image"] = "case",
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    images: int | list[str] | None = None,
    gallery_protocol: str = "box",
) -> None:
    """Put evaluated models side by side, on the masks that all of them have.

    Writes tables (Markdown, CSV, LaTeX) and drawings into a folder and prints the main table.

    Args:
        results: folders that ``syncsam test`` wrote, each as FOLDER or NAME=FOLDER. Folders of one
            name are several runs of one model: mean and standard deviation over them are shown.
        output: folder to write to.
        paper: put the paper's figures beside models of the same name.
        unit: what is independent of one another: the bootstrap draws it, the test pairs its means.
        resamples: of the bootstrap.
        confidence: level of the intervals.
        seed: of the bootstrap and of the choice of images.
        images: of the gallery: how many, or their ids; one of each modality by default. They must
            be among those that ``syncsam test`` kept (its ``--examples``).
        gallery_protocol: whose masks the gallery shows.

    Raises:
        ComparisonError: a folder is no result, or the results don't belong together.
        ExamplesError: kept images are damaged.
    """
    # Imported when the command runs: its help must not wait for pandas, SciPy and matplotlib.
    from syncsam_lightning.evaluation.comparison.drawings import write_drawings
    from syncsam_lightning.evaluation.comparison.first_prompts import compare_first_prompts
    from syncsam_lightning.evaluation.comparison.gallery import choose_rows
    from syncsam_lightning.evaluation.comparison.measurements import Settings
    from syncsam_lightning.evaluation.comparison.pairing import pair
    from syncsam_lightning.evaluation.comparison.paper import paper_table
    from syncsam_lightning.evaluation.comparison.report import Comparison
    from syncsam_lightning.evaluation.comparison.results import read_runs

    settings = Settings(unit, resamples, confidence, seed)
    beside = None if paper is None else paper_table(paper)
    runs = read_runs(results)
    paired = pair(runs)
    gallery = choose_rows(runs, gallery_protocol, images=images, seed=seed)
    warnings = [*compare_first_prompts(runs), *gallery.notes]
    comparison = Comparison.of(paired, settings, warnings=warnings, paper=beside)
    folder = Path(output)
    drawings = write_drawings(paired, gallery.rows, folder)
    comparison.write(folder, drawings)
    print(f"{comparison.summary()}\n\ntables and drawings: {folder}")
