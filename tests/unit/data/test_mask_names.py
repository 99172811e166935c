from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsam_lightning.data.mask_names import object_name, original_name, safe_name

AS_THEY_ARE = ["left kidney", "肝脏", "größer", "Niere (links)", "GTV_p-1", "a.b", "x=1"]
WRITTEN = {
    "a--2": "a-%2D2",
    "a---b": "a-%2D%2Db",
    "-a-": "%2Da%2D",
    "a/b": "a%2Fb",
    "..": "%2E.",
    "50%": "50%25",
    " a ": "%20a%20",
    "a\tb": "a%09b",
    'C:\\"x"?': "C%3A%5C%22x%22%3F",
    "right\u202eleft": "right%E2%80%AEleft",
}


@pytest.mark.parametrize("label", AS_THEY_ARE)
def test_letters_of_every_language_and_spaces_stay(label: str):
    assert safe_name(label) == label


@pytest.mark.parametrize(("label", "name"), WRITTEN.items())
def test_what_can_not_stand_in_a_name_comes_back(label: str, name: str):
    assert safe_name(label) == name
    assert original_name(name) == label


def test_the_two_forms_of_an_accent_are_one():
    assert safe_name("Ne\u0301phron") == safe_name("N\u00e9phron") == "N\u00e9phron"
    assert original_name("Ne\u0301phron") == "N\u00e9phron"


@given(st.text(min_size=1, max_size=12))
def test_every_label_comes_back_from_a_name_that_is_one(label: str):
    name = object_name(label, 2)
    written, dashes, number = name.partition("--")
    assert (dashes, number) == ("--", "2")
    assert original_name(written) == unicodedata.normalize("NFC", label)
    # As a system that changes the form of names gives it back.
    for form in ("NFC", "NFD"):
        assert original_name(unicodedata.normalize(form, written)) == original_name(written)
    for kind in (PurePosixPath, PureWindowsPath):
        assert kind(f"{written}.png").parts == (f"{written}.png",)


@pytest.mark.parametrize("letter", ["x", "ü", "肝", "/", "%"])
def test_long_names_are_cut_and_stay_different(letter: str):
    names = {safe_name(letter * length) for length in (399, 400, 401)}
    assert len(names) == 3
    for name in names:
        assert len(name.encode()) <= 100
        assert not name.endswith("%")
        assert original_name(name[:-9]) == letter * len(original_name(name[:-9]))
