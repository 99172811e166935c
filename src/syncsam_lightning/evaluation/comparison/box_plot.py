"""Box plots of DSC by modality and model."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from syncsam_lightning.evaluation.comparison.pairing import PairedScores

# Wong, "Color blindness", Nature Methods 2011: told apart by colour-blind readers too.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
_WHISKERS = (5, 95)
_HATCHES = ("", "///", "...", "xxx")  # for those beyond the colours
_ENTRY = 2.3  # inches of a model in the legend


def draw_box_plot(paired: PairedScores, protocol: str) -> Figure:
    """Draw the DSC of each mask, by modality and model, under one protocol.

    Boxes are quartiles, whiskers the 5th and 95th percentile, dots the means; a mask counts with
    its mean over runs.

    Args:
        paired: the scores.
        protocol: which.
    """
    members = np.flatnonzero(paired.masks["protocol"] == protocol)
    modalities = paired.masks["modality"].astype(str).to_numpy()[members]
    found = {model: paired.scores_of(model, members) for model in paired.models}
    scores = {model: runs.mean(axis=1) for model, runs in found.items() if runs.shape[1]}
    names = sorted(set(modalities.tolist()))
    width = max(5.0, 1.2 + 0.32 * len(names) * (len(scores) + 1))
    figure = Figure(figsize=(width, 3.8), layout="constrained")
    axes = figure.add_subplot()
    step = 0.8 / len(scores)
    for number, (model, values) in enumerate(scores.items()):
        places = np.arange(len(names)) + (number - (len(scores) - 1) / 2) * step
        groups = [100 * values[modalities == name] for name in names]
        style = {
            "facecolor": _COLOURS[number % len(_COLOURS)],
            "hatch": _HATCHES[number // len(_COLOURS) % len(_HATCHES)],
        }
        _boxes(axes, groups, places, 0.85 * step, style, model)
    counts = [int((modalities == name).sum()) for name in names]
    labels = [f"{name}\n{n:,} masks" for name, n in zip(names, counts, strict=True)]
    axes.set_xticks(range(len(names)), labels)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(-2, 102)
    axes.set_ylabel("DSC (%)")
    axes.set_title(protocol, loc="left", fontsize="medium")
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=max(1, int(width // _ENTRY)), frameon=False)
    return figure


def _boxes(
    axes: Axes,
    groups: list[np.ndarray],
    places: np.ndarray,
    width: float,
    style: dict[str, str],
    label: str,
) -> None:
    axes.boxplot(
        groups,
        positions=places,
        widths=width,
        whis=_WHISKERS,
        showfliers=False,
        showmeans=True,
        manage_ticks=False,
        patch_artist=True,
        label=label,
        boxprops={**style, "edgecolor": "black", "linewidth": 0.7},
        medianprops={"color": "black", "linewidth": 1.2},
        whiskerprops={"linewidth": 0.7},
        capprops={"linewidth": 0.7},
        meanprops={
            "marker": "o",
            "markersize": 3,
            "markerfacecolor": "white",
            "markeredgecolor": "black",
            "markeredgewidth": 0.6,
        },
    )
