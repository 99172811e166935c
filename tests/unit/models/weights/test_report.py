from __future__ import annotations

from syncsam_lightning.models import LoadReport


def test_a_clean_report_is_one_line():
    assert LoadReport("sam", ("a", "b")).summary() == "layout sam: 2 tensors loaded"


def test_each_outcome_is_counted_and_its_first_names_given():
    report = LoadReport("sam", ("a",), ("m",), tuple("uvwxyz0"), ("r1", "r2"), ("t",))
    assert report.summary().splitlines() == [
        "layout sam: 1 tensors loaded",
        "resized 2: r1, r2",
        "missing 1: m",
        "unexpected 7: u, v, w, x, y and 2 more",
        "unused 1: t",
    ]
