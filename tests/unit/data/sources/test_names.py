from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsam_lightning.data.sources.names import why_unsafe


@pytest.mark.parametrize(
    "name",
    ["a", "a/b.png", ".hidden", "a/.hidden", "a..b", "x/..y", "...", "a (1, 2).npz", "ü/μ"],
)
def test_a_plain_path_is_safe(name: str):
    assert why_unsafe(name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("..", "leaves the release"),
        ("a/../b", "leaves the release"),
        ("ü/../b", "leaves the release"),
        ("/a", "absolute path"),
        ("z:a", "absolute path"),
        ("a\\b", "backslash"),
        ("a\0", "NUL"),
        ("", "no plain path"),
        ("a/", "no plain path"),
        ("a//b", "no plain path"),
        ("a/./b", "no plain path"),
        ("a\udcff", "not valid text"),
    ],
)
def test_any_other_name_is_refused_with_its_reason(name: str, reason: str):
    assert reason in why_unsafe(name)


@given(st.text(alphabet="ab./\\:\0ü\udc80", max_size=8))
def test_what_is_safe_stays_below_the_folder_as_it_is(name: str):
    if why_unsafe(name):
        return
    path = PurePosixPath(name)
    assert str(path) == name
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert not {"\\", "\0", "\udc80"} & set(name)
