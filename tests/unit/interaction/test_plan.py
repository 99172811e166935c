from __future__ import annotations

import pytest

from syncsam_lightning.interaction import EpisodePlan


def test_a_plan_counts_its_rounds():
    assert EpisodePlan("box", (0, 3, 0), (False, False, True)).num_rounds == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("box", (), ()), "must have one entry per round, got 0 and 0"),
        (("box", (0, 1), (False,)), "must have one entry per round, got 2 and 1"),
        (("box", (1,), (False,)), "first='box' must have num_points 0"),
        (("point", (0,), (False,)), "first='point' must have num_points 1"),
        (("box", (0,), (True,)), "not be mask_only"),
        (("box", (0, 0), (False, False)), "round 1 must have either num_points or mask_only"),
        (("box", (0, 2), (False, True)), "round 1 must have either num_points or mask_only"),
    ],
)
def test_a_contradictory_plan_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EpisodePlan(*arguments)
