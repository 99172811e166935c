"""Cases on two sides are counted under whatever name, and the largest data sets are named."""

from syncsam_lightning.data.sides import CasesBySide, listed


def test_a_case_on_two_sides_is_counted_once_for_each_pair():
    cases = CasesBySide()
    for side in ("train", "val", "train", "test", "test"):
        cases.add("A", "1", side)
    cases.add("A", "2", "train")
    cases.add("B", "1", "test")  # another data set: another case
    assert cases.on_two_sides() == {
        ("A", "train", "val"): 1,
        ("A", "train", "test"): 1,
        ("A", "val", "test"): 1,
    }


def test_a_patient_is_one_under_the_names_of_several_years():
    cases = CasesBySide()
    cases.add("KiTS", "case_00012", "train")
    cases.add("KiTS2023", "KiTS_00012_x", "test")
    assert cases.notes("hand") == [
        "cases on two sides, by hand: 1 of KiTS, KiTS2023 in train and test"
    ]


def test_the_largest_are_named_first_and_the_rest_counted():
    cases = CasesBySide()
    for number, source in enumerate("ABCDEFG"):
        for case in range(number + 1):
            for side in ("train", "test"):
                cases.add(source, str(case), side)
    (note,) = cases.notes("hand")
    assert note.startswith("cases on two sides, by hand: 7 of G in train and test; 6 of F in")
    assert note.endswith("3 of C in train and test; and 2 more")


def test_data_sets_that_share_patients_are_told_with_their_sides():
    cases = CasesBySide()
    cases.add("BraTS2020", "1", "train")
    assert cases.notes("hand") == []
    cases.add("BraTS2021", "9", "train")
    assert cases.notes("hand")[0].endswith("names of their own: all their images are in train")
    cases.add("BraTS2021", "10", "test")
    assert cases.notes("hand")[0].endswith("in train and test, and patients may be in both")


def test_short_lists_are_given_whole():
    assert listed(["a", "b"]) == "a, b"
    assert listed([]) == ""
