from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from torch import Tensor

from syncsam_lightning.errors import BrokenInputError, InvalidPromptError, UnsupportedPromptError
from syncsam_lightning.models import ImageFeatures
from syncsam_lightning.prediction import Predictor, SlicePrompt, StopRule, VolumePredictor
from syncsam_lightning.prediction.predictor import NoImageError
from syncsam_lightning.prompts import Prompts
from syncsam_lightning.volumes import PLANES, Volume, parse_window

SHAPE = (30, 40, 24)  # right, anterior, superior
CENTRE, RADIUS = np.array([12.0, 26.0, 11.0]), 7.5


def ball(centre: np.ndarray = CENTRE, radius: float = RADIUS) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    inside: np.ndarray = np.linalg.norm(grid - centre, axis=-1) <= radius
    return inside


def volume(mask: np.ndarray | None = None, codes: str = "RAS") -> Volume:
    """A bright ball (or another mask) of 100 HU in air."""
    voxels = np.where(ball() if mask is None else mask, 100, -1000).astype(np.int16)
    return Volume(voxels, np.eye(4), (Path("v.nii"),)).oriented(codes)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def shown_box(plane: str, mask: np.ndarray, margin: int = 2) -> tuple[int, list[int]]:
    """The middle slice of a mask in a plane, and its box there."""
    codes = PLANES[plane]
    stack = Volume(mask, np.eye(4), ()).oriented(codes).voxels
    occupied = np.flatnonzero(stack.any((1, 2)))
    number = int(occupied[len(occupied) // 2])
    rows, columns = np.nonzero(stack[number])
    box = [
        columns.min() - margin,
        rows.min() - margin,
        columns.max() + 1 + margin,
        rows.max() + 1 + margin,
    ]
    return number, [int(value) for value in box]


@pytest.mark.parametrize("plane", list(PLANES))
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL", "AIR"])
def test_one_box_on_one_slice_finds_the_whole_ball(predictor: Predictor, plane: str, codes: str):
    volumes = VolumePredictor(predictor, plane=plane, window=parse_window("soft_tissue"))
    given = volumes.set_volume(volume(codes=codes))
    number, box = shown_box(plane, ball())
    found = volumes.predict([SlicePrompt(number, box=box)])
    truth = given.voxels > 0
    assert found.mask.shape == given.voxels.shape
    assert dice(found.mask, truth) > 0.97
    assert found.plane == plane


def test_it_ends_where_the_ball_ends_and_says_why(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    found = volumes.predict([SlicePrompt(number, box=box)])
    occupied = np.flatnonzero(ball().any((0, 1)))
    assert sorted(found.scores) == list(occupied)
    assert found.ends == {
        (occupied[0], "down"): "the mask is empty",
        (occupied[-1], "up"): "the mask is empty",
    }


def test_another_bright_object_further_away_is_left_alone(predictor: Predictor):
    other = ball(np.array([24.0, 8.0, 11.0]), 4)
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume(ball() | other))
    number, box = shown_box("axial", ball())
    found = volumes.predict([SlicePrompt(number, box=box)])
    assert not (found.mask & other).any()
    assert dice(found.mask, ball()) > 0.97


def test_a_leak_is_stopped_by_the_change_of_area(predictor: Predictor):
    leaking = np.zeros(SHAPE, bool)
    leaking[10:14, 20:24, :12] = True
    leaking[5:20, 15:30, 12:] = True  # 14 times the area
    volumes = VolumePredictor(predictor, plane="axial", stop=StopRule(max_area_change=2))
    volumes.set_volume(volume(leaking))
    number, box = shown_box("axial", leaking[:, :, :12])
    found = volumes.predict([SlicePrompt(number, box=box)])
    assert found.ends[11, "up"].startswith("the area grew 2.")
    assert found.ends[0, "down"] == "the volume ends"
    assert not found.mask[:, :, 12:].any()


def test_a_faint_mask_is_stopped_by_its_score(predictor: Predictor):
    voxels = np.where(ball(), 200, 0).astype(np.float32)
    voxels[:, :, 14:] = np.where(ball()[:, :, 14:], 128.5, 120)  # hardly above the threshold
    volumes = VolumePredictor(predictor, plane="axial", window=parse_window("255,127.5"))
    volumes.set_volume(Volume(voxels, np.eye(4), ()))
    number, box = shown_box("axial", ball())
    found = volumes.predict([SlicePrompt(number, box=box)])
    assert found.ends[13, "up"].startswith("the score fell")


def test_the_next_slice_gets_box_and_mask_of_the_last(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    volumes.predict([SlicePrompt(number, box=box)])
    first, second = predictor.model.asked[:2]
    assert first.mask_logits is None
    assert second.mask_logits is not None
    assert second.points is None
    # The ball is 15 wide here; the box grows by a tenth of it, in a square of 64 for 40.
    width = float(second.boxes[0, 2] - second.boxes[0, 0])
    assert width == pytest.approx(15 * 1.2 * 64 / 40, abs=2)


def test_a_model_without_masks_is_carried_on_by_boxes_alone(bright):
    predictor = Predictor(bright(prompts=("boxes",)), device="cpu")
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    assert dice(volumes.predict([SlicePrompt(number, box=box)]).mask, ball()) > 0.97


def test_a_model_without_boxes_can_only_be_asked_slice_by_slice(bright):
    predictor = Predictor(bright(prompts=("points",)), device="cpu")
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    prompt = SlicePrompt(11, points=[[17, 13]])
    with pytest.raises(UnsupportedPromptError, match="propagate=False"):
        volumes.predict([prompt])
    alone = VolumePredictor(predictor, plane="axial", propagate=False)
    alone.set_volume(volume())
    assert set(alone.predict([prompt]).scores) == {11}


def test_a_box_for_each_slice_draws_on_these_alone(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial", propagate=False)
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    found = volumes.predict([SlicePrompt(n, box=box) for n in (number - 2, number, number + 1)])
    assert set(found.scores) == {number - 2, number, number + 1}
    assert found.ends == {}
    np.testing.assert_array_equal(
        np.flatnonzero(found.mask.any((0, 1))), [number - 2, number, number + 1]
    )


def test_between_two_prompts_each_goes_halfway(predictor: Predictor):
    tube = np.zeros(SHAPE, bool)
    tube[10:20, 10:20] = True
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume(tube))
    box = [9, 19, 21, 31]
    seen: list[int] = []
    found = volumes.predict(
        [SlicePrompt(15, box=box), SlicePrompt(4, box=box)], progress=seen.append
    )
    assert seen == [4, 3, 2, 1, 0, 5, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10, *range(16, 24)]
    assert found.mask.any((0, 1)).all()
    assert found.ends == {
        (0, "down"): "the volume ends",
        (9, "up"): "another prompt takes over",
        (10, "down"): "another prompt takes over",
        (23, "up"): "the volume ends",
    }


def tube_without(*dark: int) -> np.ndarray:
    """A tube through all axial slices but some."""
    tube = np.zeros(SHAPE, bool)
    tube[10:20, 10:20] = True
    tube[:, :, list(dark)] = False
    return tube


@pytest.mark.parametrize("dark", [7, 13])  # halfway between 4 and 16 is 10
def test_where_one_prompt_ends_early_the_other_goes_on(predictor: Predictor, dark: int):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume(tube_without(dark)))
    box = [9, 19, 21, 31]
    found = volumes.predict([SlicePrompt(4, box=box), SlicePrompt(16, box=box)])
    assert list(np.flatnonzero(found.mask.any((0, 1)))) == list(found.drawn)
    assert set(found.drawn) == set(range(24)) - {dark}
    assert found.ends[dark - 1, "up"] == found.ends[dark + 1, "down"] == "the mask is empty"
    assert found.holes == [(dark, dark)]
    assert found.runs == [(0, dark - 1), (dark + 1, 23)]


def test_a_prompt_that_ends_at_once_takes_nothing_from_another(predictor: Predictor):
    voxels = np.where(tube_without(), 200, 0).astype(np.float32)
    voxels[:, :, 15] = np.where(tube_without()[:, :, 15], 0, 200)  # where the box is, it is dark
    volumes = VolumePredictor(predictor, plane="axial", window=parse_window("255,127.5"))
    volumes.set_volume(Volume(voxels, np.eye(4), ()))
    box = [11, 21, 19, 29]
    alone = volumes.predict([SlicePrompt(4, box=box)])
    both = volumes.predict([SlicePrompt(4, box=box), SlicePrompt(15, box=box)])
    assert set(alone.drawn) <= set(both.drawn)
    assert both.ends[14, "up"] == "another prompt takes over"
    assert both.runs == [(0, 14)]


def test_without_a_hole_there_is_one_run(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume(tube_without()))
    box = [9, 19, 21, 31]
    found = volumes.predict([SlicePrompt(0, box=box), SlicePrompt(1, box=box)])
    assert (found.runs, found.holes) == ([(0, 23)], [])
    assert found.ends == {
        (0, "down"): "the volume ends",
        (0, "up"): "another prompt takes over",
        (1, "down"): "another prompt takes over",
        (23, "up"): "the volume ends",
    }


def test_a_prompt_where_nothing_is_goes_nowhere(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    found = volumes.predict([SlicePrompt(0, box=[1, 1, 9, 9])])
    assert not found.mask.any()
    assert (found.drawn, found.runs, found.holes) == ((), [], [])
    assert set(found.ends.values()) == {"the mask is empty"}


def test_slices_are_encoded_once_for_all_objects(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    volumes.predict([SlicePrompt(number, box=box)])
    count = predictor.model.encoded
    volumes.predict([SlicePrompt(number, box=box)])
    assert predictor.model.encoded == count


def test_the_coarsest_plane_is_the_default(predictor: Predictor):
    volumes = VolumePredictor(predictor)
    volumes.set_volume(Volume(volume().voxels, np.diag([1.0, 3, 1, 1]), ()))
    assert volumes.shape == (40, 24, 30)


def test_a_single_slice_is_an_image_that_ends_nowhere(predictor: Predictor):
    number, box = shown_box("axial", ball())
    voxels = volume().voxels[:, :, number : number + 1]
    volumes = VolumePredictor(predictor)
    volumes.set_volume(Volume(voxels, np.diag([3.0, 3, 1, 1]), ()))
    assert volumes.shape[0] == 1
    found = volumes.predict([SlicePrompt(0, box=box)])
    assert found.mask.any()
    assert found.ends == {}


def test_a_path_is_read(predictor: Predictor, tmp_path: Path):
    nib.save(nib.Nifti1Image(volume().voxels, np.eye(4)), tmp_path / "v.nii.gz")
    volumes = VolumePredictor(predictor, plane="axial")
    assert volumes.set_volume(tmp_path / "v.nii.gz").voxels.shape == SHAPE


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompt"),
        ([SlicePrompt(24, box=[1, 1, 9, 9])], "axial slices go from 0 to 23"),
        ([SlicePrompt(4.5, box=[1, 1, 9, 9])], "a whole number from 0 to 23, got 4.5"),
        ([SlicePrompt(-1, box=[1, 1, 9, 9])], "no slice -1"),
        ([SlicePrompt(3, box=[1, 1, 9, 9])] * 2, "twice"),
        ([SlicePrompt(3, box=[1, 1, 31, 9])], "slice 3: box 1, 1, 31, 9 reaches beyond"),
        ([SlicePrompt(3)], "slice 3: there is no prompt"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_explained(
    predictor: Predictor, prompts: list[SlicePrompt], message: str
):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    with pytest.raises(InvalidPromptError, match=message):
        volumes.predict(prompts)


def test_one_prompt_needs_no_list(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    found = volumes.predict(SlicePrompt(np.int64(number), box=box))
    np.testing.assert_array_equal(found.mask, volumes.predict([SlicePrompt(number, box=box)]).mask)


def test_without_a_volume_there_is_nothing_to_ask(predictor: Predictor):
    with pytest.raises(NoImageError, match="set_volume"):
        VolumePredictor(predictor).predict([SlicePrompt(0, box=[0, 0, 1, 1])])


def test_a_volume_that_cannot_be_used_leaves_none(predictor: Predictor):
    volumes = VolumePredictor(predictor, plane="axial")
    volumes.set_volume(volume())
    with pytest.raises(BrokenInputError, match="nope"):
        volumes.set_volume("nope")
    with pytest.raises(NoImageError, match="set_volume"):
        volumes.predict([SlicePrompt(0, box=[0, 0, 1, 1])])


def square(x: int, side: int) -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[10 : 10 + side, x : x + side] = True
    return mask


@pytest.mark.parametrize(
    ("after", "score", "reason"),
    [
        (square(10, 10), 0.9, None),
        (square(10, 6), 0.9, None),
        (square(4, 19), 0.9, None),
        (square(25, 10), 0.9, "only 0% of the smaller mask lies in the one beside it"),
        (square(16, 10), 0.9, "only 40% of the smaller mask lies in the one beside it"),
        (square(10, 10), 0.4, "the score fell to 0.40"),
        (square(10, 4), 0.9, "the area shrank 6.2 times"),
        (square(4, 25), 0.9, "the area grew 6.2 times"),
        (square(10, 1), 0.9, "the mask has 1 pixels"),
        (square(10, 0), 0.9, "the mask is empty"),
    ],
)
def test_an_object_ends_where_the_next_mask_is_another(
    after: np.ndarray, score: float, reason: str | None
):
    assert StopRule().reason(square(10, 10), after, score) == reason


@pytest.mark.parametrize(
    "values",
    [{"min_pixels": 0}, {"max_area_change": 1}, {"min_score": 1.5}, {"min_overlap": -0.1}],
)
def test_a_stop_rule_out_of_range_is_refused(values: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(values))):
        StopRule(**values)


@pytest.fixture
def astray(bright):
    class LedAstray(bright):
        """Answers beside the object where it is given a previous mask."""

        def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
            answer = super().decode(features, prompts)
            return answer if prompts.mask_logits is None else answer.roll(24, dims=-1)

    return LedAstray


def test_before_an_object_ends_it_is_asked_about_by_a_click(astray):
    volumes = VolumePredictor(Predictor(astray(), device="cpu"), plane="axial")
    given = volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    found = volumes.predict([SlicePrompt(number, box=box)])
    assert dice(found.mask, given.voxels > 0) > 0.97
    assert set(found.ends) == {(4, "down"), (18, "up")}


def test_a_model_without_points_is_not_asked_again(astray):
    model = astray(prompts=("boxes", "masks"))
    volumes = VolumePredictor(Predictor(model, device="cpu"), plane="axial")
    volumes.set_volume(volume())
    number, box = shown_box("axial", ball())
    found = volumes.predict([SlicePrompt(number, box=box)])
    assert found.drawn == (number,)
    assert "lies in the one beside it" in found.ends[number, "up"]
    assert len(model.asked) == 3


def test_an_answer_to_a_click_that_lies_elsewhere_ends_the_object(astray):
    # Two bars that share a third of their width: enough for the rule, not for a click.
    mask = np.zeros(SHAPE, bool)
    mask[4:16, 20:30, :11] = True
    mask[12:24, 20:30, 11:] = True
    volumes = VolumePredictor(
        Predictor(astray(), device="cpu"), plane="axial", stop=StopRule(min_overlap=0.3)
    )
    volumes.set_volume(volume(mask))
    found = volumes.predict([SlicePrompt(8, box=[14, 10, 26, 20])])
    assert found.drawn[-1] == 10
