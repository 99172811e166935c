from __future__ import annotations

from pathlib import Path

from syncsam_lightning.data.conversion import ConversionReport
from syncsam_lightning.records import PublishedCounts, Skipped


def report() -> ConversionReport:
    made = ConversionReport("t.lance", Path("t.skipped.jsonl"))
    made.add_unit({"splits": {"train": 2}, "images": {"ct": 2}, "masks": {"ct": 5}})
    made.add_unit({"splits": {"test": 1}, "images": {"mr": 1}, "masks": {"mr": 1200}})
    for number in range(3):
        made.add_skipped(Skipped(f"{number}.png", f"mask {number}x9", "shape mismatch", "BTCV"))
    made.add_skipped(Skipped("x.png", "empty mask", "empty mask", "BTCV"))
    made.add_skipped(Skipped("y.png", "mask 1x2", "shape mismatch", "KiTS"))
    made.add_skipped(Skipped("../z", "leaves the release", "unsafe path"))
    return made


def test_units_add_up():
    made = report()
    assert (made.images, made.masks, made.num_skipped) == ({"train": 2, "test": 1}, 1205, 6)


def test_a_reason_with_numbers_in_it_does_not_split_the_counts():
    lines = report().details().splitlines()
    assert lines[-5:] == [
        "  skipped",
        "            3  shape mismatch (BTCV)",
        "            1  empty mask (BTCV)",
        "            1  shape mismatch (KiTS)",
        "            1  unsafe path",
    ]


def test_counts_stand_beside_the_published_ones():
    published = PublishedCounts("a paper", {"ct": (1_645_894, 5_533_808), "pet": (5410, None)})
    assert report().details(published).splitlines()[1:5] == [
        "  modality                 images       masks    a paper: images, masks",
        "  ct                            2           5    1,645,894, 5,533,808",
        "  mr                            1       1,200",
        "  pet                           0           0    5,410, ?",
    ]


def test_nothing_usable_names_the_first_reasons():
    made = ConversionReport("t.lance", Path("t.skipped.jsonl"))
    for number in range(5):
        made.add_skipped(Skipped(f"{number}.png", "empty mask", "empty mask"))
    told = made.nothing_usable()
    assert "(5 skipped)" in told
    assert "2.png: empty mask" in told
    assert "3.png" not in told
