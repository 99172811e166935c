"""The seeds of data and model follow `--seed_everything` where they are not given themselves."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping, Sequence

from syncsam_lightning.cli.given import GivenSettings

SEED = 42
"""What ``seed_everything`` is where it is not given."""


def with_seeds(
    args: Sequence[str], given: GivenSettings, datamodules: Mapping[str, type]
) -> list[str]:
    """Give ``model.seed`` and ``data.seed`` the value of ``seed_everything``.

    Otherwise another ``seed_everything`` would change the first weights, but neither the order of
    the images nor what simulated users do. A seed that is given, which may be in a config or a
    checkpoint, stays. ``true`` and ``false``, for any and for none, leave the classes' own seeds.

    Args:
        args: command and options.
        given: their settings, those of a checkpoint included.
        datamodules: the known classes by their short names.

    Returns:
        the arguments with the seeds at their end.
    """
    seed = given.value("seed_everything")
    seed = SEED if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        return list(args)
    # A file or a mapping in the place of the model's settings may hold a seed that isn't seen here.
    follow = {
        "model.seed": given.class_name("model") is None,
        "data.seed": _takes_seed(given.class_name("data"), datamodules),
    }
    return [
        *args,
        *(
            f"--{key}={seed}"
            for key, takes_it in follow.items()
            if takes_it and given.value(key) is None
        ),
    ]


def _takes_seed(name: str | None, datamodules: Mapping[str, type]) -> bool:
    if name is None:
        return False
    try:
        found = datamodules.get(name) or pkgutil.resolve_name(name)
    except (ValueError, ImportError, AttributeError):  # the parser will say so
        return False
    for cls in inspect.getmro(found) if isinstance(found, type) else ():
        if construct := vars(cls).get("__init__"):
            parameters = inspect.signature(construct).parameters
            if "seed" in parameters:
                return True
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                return False
    return False
