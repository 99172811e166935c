from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from syncsam_datamodules.samed2d import SAMed2D
from syncsam_datamodules.samed2d.rules import RULES, Rules

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Loadable, NamedMask, RawSample, Skipped

DISC = np.zeros((8, 8), bool)
DISC[2:5, 3:6] = True


def sample(
    source: str, *, image: np.ndarray | None = None, masks: dict[str, np.ndarray] | None = None
):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) if image is None else image
    names = {"0000_000": DISC} if masks is None else masks
    objects = tuple(NamedMask("a", mask, f"masks/x--{name}.png") for name, mask in names.items())
    return RawSample("x", pixels, objects, "mr", source, "c", path="images/x.png")


def apply(given: RawSample, **switches: bool) -> tuple[list[RawSample], list[Skipped]]:
    found = list(Rules(switches).apply(given))
    return (
        [item for item in found if isinstance(item, RawSample)],
        [item for item in found if isinstance(item, Skipped)],
    )


def pixels(given: RawSample, **switches: bool) -> np.ndarray:
    (left,), _ = apply(given, **switches)
    return resolve_image(left.image, left.path)


def masks(given: RawSample, **switches: bool) -> list[np.ndarray]:
    (left,), _ = apply(given, **switches)
    return [resolve_mask(mask.mask, mask.path) for mask in left.masks]


def test_a_sound_sample_stays_what_it_is():
    given = sample("AMOS2022")
    (left,), skipped = apply(given)
    assert skipped == []
    assert replace(left, image=given.image) == given
    np.testing.assert_array_equal(resolve_image(left.image, "")[..., 0], given.image)


def test_inverted_masks_are_turned_and_upright_ones_are_not():
    given = sample("ichallenge_adam_task2", masks={"0000_000": ~DISC, "0000_001": DISC})
    for mask in masks(given):
        np.testing.assert_array_equal(mask, DISC)
    np.testing.assert_array_equal(masks(given, inverted_adam=False)[0], ~DISC)


def test_masks_of_other_sources_are_not_turned():
    np.testing.assert_array_equal(masks(sample("ADAM", masks={"0000_000": ~DISC}))[0], ~DISC)


def test_a_cavity_that_other_masks_overlap_is_left_out_and_the_others_stay():
    touching = np.zeros_like(DISC)
    touching[4:7, 5:8] = True  # one pixel of it is the disc's
    given = sample("ACDC", masks={"0001_000": touching, "0003_000": DISC})
    (left,), skipped = apply(given)
    wall, cavity = left.masks
    assert skipped == []  # the masks are compared where they are read
    np.testing.assert_array_equal(resolve_mask(wall.mask, wall.path), touching)
    with pytest.raises(BrokenInputError, match=r"overlaps masks/x--0001_000\.png") as error:
        resolve_mask(cavity.mask, cavity.path)
    assert (error.value.path, error.value.kind) == ("masks/x--0003_000.png", "rule acdc_cavity")
    assert len(masks(given, acdc_cavity=False)) == 2
    assert len(masks(replace(given, source="ACDC2"))) == 2


def test_a_cavity_that_no_other_mask_overlaps_stays():
    apart = np.roll(DISC, 3, axis=0)
    assert not (apart & DISC).any()
    given = {"0001_000": apart, "0003_000": DISC}
    np.testing.assert_array_equal(masks(sample("ACDC", masks=given)), [apart, DISC])
    (alone,) = masks(sample("ACDC", masks={"0003_000": DISC}))
    np.testing.assert_array_equal(alone, DISC)


@pytest.mark.parametrize("other", ["unreadable", "of another shape"])
def test_a_cavity_beside_a_mask_that_is_no_use_stays(other: str):
    wall: Loadable = "/nowhere.png" if other == "unreadable" else np.ones((9, 9), bool)
    named = NamedMask("a", wall, "masks/x--0001_000.png")
    given = sample("ACDC", masks={"0003_000": DISC})
    (left,), _ = apply(replace(given, masks=(named, *given.masks)))
    np.testing.assert_array_equal(resolve_mask(left.masks[1].mask, "x"), DISC)


@pytest.mark.parametrize("source", ["Brain_PTM", "QUBIQ2020"])
def test_images_with_two_values_are_left_out_of_known_sources(source: str):
    binary = np.where(DISC, 255, 3).astype(np.uint8)
    with pytest.raises(BrokenInputError, match="all its pixels are 3 or 255") as error:
        pixels(sample(source, image=binary))
    assert error.value.kind == "rule binary_images"
    np.testing.assert_array_equal(
        pixels(sample(source, image=binary), binary_images=False)[..., 0], binary
    )
    assert pixels(sample("BTCV", image=binary)).shape == (8, 8, 1)
    assert pixels(sample(source)).shape == (8, 8, 1)


def test_constant_images_are_left_out():
    constant = np.full((8, 8, 3), 7, np.uint8)
    with pytest.raises(BrokenInputError, match="all its pixels are 7") as error:
        pixels(sample("BTCV", image=constant))
    assert error.value.kind == "rule constant_images"
    assert pixels(sample("BTCV", image=constant), constant_images=False).shape == (8, 8, 3)


def test_doubtful_pet_stays_unless_it_is_switched_off():
    assert len(apply(sample("autoPET"))[0]) == 1
    left, (skipped,) = apply(sample("autoPET"), autopet=True)
    assert left == []
    assert (skipped.path, skipped.kind, skipped.source) == (
        "images/x.png",
        "rule autopet",
        "autoPET",
    )


def test_every_rule_says_where_the_defect_is_known_from():
    assert all("third-party" in rule.known_from and rule.does for rule in RULES.values())


def test_an_unknown_rule_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no rule 'acdc'; there are constant_images, binary_ima"):
        SAMed2D(rules={"acdc": False})


def test_the_rules_are_stored_with_the_table():
    settings = SAMed2D(rules={"autopet": True}).table_settings()
    assert settings["rules"]["autopet"] is True
    assert settings["rules"]["constant_images"] is True
