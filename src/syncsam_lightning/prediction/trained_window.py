"""The window that a model saw volumes with in training."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from syncsam_lightning.hub import find_checkpoint, read_config
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint
from syncsam_lightning.volumes.windows import UnknownWindowError, Window, parse_window

log = logging.getLogger(__name__)

_DATA = "datamodule_hyper_parameters"  # Lightning's key


def volume_window(name: str | None, checkpoint: str | os.PathLike[str]) -> Window:
    """Return the window that volumes are shown with to a trained model.

    A model sees what the window shows: with another than in training it answers about pictures that
    it never saw. A warning tells where that is so.

    Args:
        name: what was asked for, see :func:`~syncsam_lightning.volumes.parse_window`; None: that of
            training, if the checkpoint says which, else ``percentiles``.
        checkpoint: what :meth:`Predictor.from_checkpoint` takes.

    Raises:
        UnknownWindowError: there is no such window.
        WeightsError: the checkpoint can't be read.
        HubError: the folder or repository can't be read.
    """
    asked = None if name is None else parse_window(name)
    trained = trained_windows(checkpoint)
    if len(trained) > 1:
        if asked is None:
            log.warning(
                "%s was trained with several windows (%s), and percentiles is taken: name the one "
                "for these volumes with --window",
                checkpoint,
                ", ".join(trained),
            )
        return asked or Window()
    window = parse_window(trained[0]) if trained else Window()
    if asked is None:
        if window != Window():
            log.info("volumes are shown with the window of training, %s", trained[0])
        return window
    # The default says little: it is noted where training saw images alone, too.
    if asked != window != Window():
        log.warning(
            "volumes are shown with the window %s, but %s was trained with %s: masks may be much "
            "worse for it; leave --window out to take that of training",
            name,
            checkpoint,
            trained[0],
        )
    return asked


def trained_windows(checkpoint: str | os.PathLike[str]) -> list[str]:
    """Return the windows that the data of a training were cut with.

    Returns:
        each once, as ``data.window`` names it: what a checkpoint of ``syncsam fit`` says, or a
        folder that was exported from one; none of weights alone and of data without a window.

    Raises:
        WeightsError: the checkpoint can't be read.
        HubError: the folder or repository can't be read.
    """
    place = find_checkpoint(checkpoint)
    if place.is_dir():
        return list(dict.fromkeys(read_config(place)["windows"]))
    content = read_checkpoint(place)
    data = content.get(_DATA) if isinstance(content, Mapping) else None
    return list(dict.fromkeys(name for name in _named(data) if _is_known(name)))


def _named(data: Any) -> Iterator[str]:
    """Yield the windows of a datamodule's settings, and of those of its parts."""
    if not isinstance(data, Mapping):
        return
    if isinstance(name := data.get("window"), str):
        yield name
    parts = data.get("parts")
    for part in parts if isinstance(parts, list | tuple) else ():
        if isinstance(part, Mapping):
            yield from _named(part.get("init_args"))


def _is_known(name: str) -> bool:
    try:
        parse_window(name)
    except UnknownWindowError:
        return False  # of a datamodule that means something else by the word
    return True
