"""Names of images tell the case; the number of a data set's year is none."""

import pytest
from syncsam_datamodules.imed361m.names import case_and_slice


@pytest.mark.parametrize(
    ("stem", "data_set", "case", "position"),
    [
        ("ISIC2018_0000001", "isic2018_task1", "ISIC2018_0000001", ""),
        ("ISIC2018_0000001", "ISIC", "ISIC2018_0000001", ""),
        ("ISIC2018_0000001_2", "ISIC2018", "ISIC2018_0000001", "2"),
        ("KiTS_00012_x", "KiTS", "KiTS_00012", "x"),
        ("KiTS_00012_y", "KiTS", "KiTS_00012", "y"),
        ("KiTS2021_00012_100", "KiTS2021", "KiTS2021_00012", "100"),
        ("00012_40", "KiTS", "00012", "40"),
        ("amos_0004_75", "AMOS2022_CT", "amos_0004", "75"),
        ("a12_3", "A", "a12", "3"),
        ("left_x_12", "A", "left_x_12", ""),
        ("_12", "A", "_12", ""),
    ],
)
def test_case_and_slice(stem: str, data_set: str, case: str, position: str):
    assert case_and_slice(stem, data_set) == (case, position)


def test_images_of_a_year_are_many_cases():
    cases = {case_and_slice(f"ISIC2018_{number:07d}", "ISIC2018")[0] for number in range(50)}
    assert len(cases) == 50
