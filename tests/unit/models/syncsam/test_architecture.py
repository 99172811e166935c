from __future__ import annotations

import pytest

from syncsam_lightning.models.syncsam import Architecture


def test_the_defaults_are_the_paper_s_model():
    default = Architecture()
    assert (default.cnn, default.vit, default.fusion) == ("resnet34", "frozen", "synchronized")
    assert default.med_token
    assert default.multi_scale
    assert (default.grid_size, default.mask_size) == (16, 64)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"vit": "none", "cnn": "none"}, "vit='none' and cnn='none' leave no image encoder"),
        ({"fusion": "single_step", "cnn": "none"}, "fusion='single_step'.*cnn='none'"),
        ({"fusion": "single_step", "vit": "none"}, "fusion='single_step'.*vit='none'"),
        ({"frozen": ["cnn"], "cnn": "none"}, "frozen names 'cnn', but cnn='none'"),
        ({"image_size": 80}, "image_size=80 does not fit cnn='resnet34'.*multiple of 32"),
        ({"vit_width": 100}, "vit_width=100 must be divisible by vit_heads=12"),
    ],
)
def test_arguments_that_make_each_other_meaningless_are_both_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Architecture(**arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"cnn": "resnet35"}, "cnn: unknown value 'resnet35'; choose from none, resnet18"),
        ({"vit": "on"}, "vit: unknown value 'on'; choose from frozen, trained, none"),
        ({"fusion": "late"}, "fusion: unknown value 'late'"),
        ({"frozen": ["encoder"]}, "frozen: unknown value 'encoder'; choose from cnn, prompt"),
        ({"frozen": "cnn"}, "frozen must be a list of parts, got the text 'cnn'"),
        ({"image_size": 250}, "image_size must be a multiple of 16, got 250"),
        ({"image_size": 0}, "image_size must be a multiple of 16, got 0"),
        ({"vit_depth": 6}, "vit_depth must be a multiple of 4, got 6"),
        ({"vit_depth": 0}, "vit_depth must be a multiple of 4, got 0"),
        ({"window_size": 0}, "window_size must be at least 1, got 0"),
    ],
)
def test_unknown_and_impossible_values_are_refused_with_the_choices(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Architecture(**arguments)


def test_without_a_cnn_any_multiple_of_16_will_do():
    assert Architecture(cnn="none", image_size=80).grid_size == 5
