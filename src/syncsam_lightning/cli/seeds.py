"""The seed of simulated users follows `--seed_everything` where it is not given itself."""

from __future__ import annotations

from collections.abc import Sequence

from syncsam_lightning.cli.given import GivenSettings

SEED = 42
"""What ``seed_everything`` is where it is not given."""

_FOLLOWS = "model.seed"


def with_seeds(args: Sequence[str], given: GivenSettings) -> list[str]:
    """Give ``model.seed`` the value of ``seed_everything``.

    Otherwise another ``seed_everything`` would change the first weights, but not what simulated
    users do. A seed that is given, which may be in a config or a checkpoint, stays. ``true`` and
    ``false``, for any and for none, leave the class's own. ``data.seed`` does not follow: it also
    decides which cases a table holds out, which is one choice for all runs on it.

    Args:
        args: command and options.
        given: their settings, those of a checkpoint included.

    Returns:
        the arguments, with the seed at their end.
    """
    seed = given.value("seed_everything")
    seed = SEED if seed is None else seed
    if isinstance(seed, bool) or not isinstance(seed, int) or given.value(_FOLLOWS) is not None:
        return list(args)
    return [*args, f"--{_FOLLOWS}={seed}"]
