"""The gallery shows what was kept for all models, chosen by id and not by score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.gallery import Choice, choose_rows, draw_gallery
from syncsam_lightning.evaluation.comparison.results import read_runs
from syncsam_lightning.evaluation.examples import Answer, Example, example_rank, write_examples

TRUTH = np.zeros((20, 10), bool)
TRUTH[5:15, 2:8] = True
SMALL = np.zeros((20, 10), bool)
SMALL[0:2, 0:2] = True
IMAGES = {"a": "ct", "b": "ct", "c": "mr", "d": "us"}


def example(name: str, *, answer=TRUTH, protocol="box", truth=TRUTH, shade=90) -> Example:
    answers = [
        Answer(protocol, 0, "dot", SMALL, SMALL),
        Answer(protocol, 1, "bar", truth, answer),
    ]
    return Example(name, "A", IMAGES[name], np.full((40, 20, 3), shade, np.uint8), answers)


@pytest.fixture
def choose(write_result):
    def run(*kept, protocol="box", images=None, prompts=None, seed=0, **names) -> Choice:
        results = []
        for number, examples in enumerate(kept):
            folder: Path = write_result(f"m{number}/test", [{"dice": 0.5}], prompts)
            if examples is not None:
                write_examples(folder / "examples.parquet", examples)
            results.append(f"{names.get(f'm{number}', f'm{number}')}={folder}")
        return choose_rows(read_runs(results), protocol, images=images, seed=seed)

    return run


def shown(choice: Choice) -> list[str]:
    return [row.example.image_id for row in choice.rows]


def test_one_image_of_each_modality_is_shown_that_of_lowest_rank(choose):
    everything = [example(name) for name in IMAGES]
    for seed in range(4):
        first = min("ab", key=lambda name: example_rank(name, seed))
        assert shown(choose(everything, everything[::-1], seed=seed)) == [first, "c", "d"]


def test_a_number_of_images_is_drawn_and_names_are_taken_in_their_order(choose):
    everything = [example(name) for name in IMAGES]
    drawn = sorted(IMAGES, key=lambda name: example_rank(name, 0))[:2]
    assert set(shown(choose(everything, images=2))) == set(drawn)
    assert shown(choose(everything, images=["d", "a"])) == ["d", "a"]


def test_the_largest_mask_is_shown_with_the_answer_of_each_model(choose):
    (row,) = choose([example("a")], [example("a", answer=SMALL)]).rows
    assert {model: (a.mask_id, a.dice) for model, a in row.answers.items()} == {
        "m0": (1, 1.0),
        "m1": (1, 0.0),
    }


def test_the_prompt_is_the_recorded_one(choose):
    prompts = [
        {"image_id": "a", "mask_id": number, "box": [number, 2.0, 3.0, 4.0]} for number in (0, 1)
    ]
    (row,) = choose([example("a")], prompts=prompts).rows
    assert [row.prompt[name] for name in ("x0", "y0", "x1", "y1")] == [1.0, 2.0, 3.0, 4.0]
    assert np.isnan(row.prompt["x"])


def test_only_images_kept_for_all_models_are_shown(choose):
    choice = choose([example("a"), example("c")], [example("c"), example("d")])
    assert shown(choice) == ["c"]


def test_models_without_images_are_left_out_and_told(choose):
    choice = choose([example("a")], None, [example("a", protocol="1pt")])
    assert shown(choice) == ["a"]
    assert list(choice.notes) == ["gallery: no images with box were kept for m1, m2"]


def test_nothing_kept_in_common_is_told(choose):
    choice = choose([example("a")], [example("c")])
    assert shown(choice) == []
    assert list(choice.notes) == ["gallery: no image was kept for all of m0, m1"]


def test_nothing_kept_at_all_is_told(choose):
    assert choose(None) == Choice([], ["gallery: no images with box were kept for m0"])


def test_of_several_runs_the_first_that_kept_images_is_shown(choose):
    choice = choose(None, [example("a")], [example("a", answer=SMALL)], m0="x", m1="x", m2="x")
    (row,) = choice.rows
    assert {model: answer.dice for model, answer in row.answers.items()} == {"x": 1.0}
    assert list(choice.notes) == []


def test_an_image_that_was_not_kept_is_named_with_those_that_were(choose):
    with pytest.raises(ComparisonError, match="zz was not kept for all models, which have a, c;"):
        choose([example("c"), example("a")], images=["zz"])


def test_masks_of_different_tables_are_refused(choose):
    moved = np.roll(TRUTH, 1, axis=0)
    with pytest.raises(ComparisonError, match="mask 1 of image a differs between m0 and m1"):
        choose([example("a")], [example("a", truth=moved)])


def pixels(figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_the_drawing_has_a_column_per_model_and_the_dsc_of_each(choose):
    prompts = [{"image_id": "a", "mask_id": 1, "box": [2.0, 5.0, 8.0, 15.0]}]
    rows = choose([example("a")], [example("a", answer=SMALL)], prompts=prompts).rows
    figure = draw_gallery(rows, ["m1", "m0", "absent"])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["image and prompt", "truth", "m1", "m0"]
    texts = [axes.texts[0].get_text() for axes in figure.axes[2:]]
    assert texts == ["0.0", "100.0"]
    assert figure.axes[3].texts[0].get_fontweight() == "bold"
    (box,) = figure.axes[0].patches
    assert box.get_bbox().bounds == (1.5, 4.5, 6.0, 10.0)


def test_masks_lie_where_they_are(choose):
    rows = choose([example("a", answer=SMALL)]).rows
    figure = draw_gallery(rows, ["m0"])
    plain, truth, answer = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert plain.shape == (20, 10, 3)
    assert ((truth != plain).any(axis=2) == TRUTH).all()
    assert ((answer != plain).any(axis=2) == SMALL).all()
    assert pixels(figure).std() > 0
