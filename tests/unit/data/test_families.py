"""Patients are recognised under the names that the public releases give them."""

import re

import pytest

from syncsam_lightning.data.families import COPIES, NUMBERINGS, numbering_of, patient_of, shared


@pytest.mark.parametrize(
    ("source", "case", "patient"),
    [
        ("KiTS", "case_00012", ("KiTS", "12")),
        ("KiTS2021", "KiTS_00012_x", ("KiTS", "12")),
        ("KiTS2023", "00012", ("KiTS", "12")),
        ("KiTS", "kits_21", ("KiTS", "21")),  # not the year
        ("KiTS2021", "KiTS2021_00021", ("KiTS", "21")),
        ("MSD_Liver", "liver_12", ("LiTS", "12")),
        ("LiTS", "volume-012", ("LiTS", "12")),
        ("AMOS2022", "amos_0507", ("AMOS", "507")),
        ("AMOS2022_MR", "AMOS2022_0507", ("AMOS", "507")),
        ("isic2018_task1", "ISIC_0012345", ("ISIC", "12345")),
        ("isic2018_task1", "isic2018_task1_0012345", ("ISIC", "12345")),
        ("ISIC2016", "ISIC2016_0012345", ("ISIC", "12345")),
        ("ACDC", "patient001_frame01", ("ACDC", "1")),
        ("ACDC", "patient001_frame12", ("ACDC", "1")),
        ("mnms2", "mnms2_007_SA_ED", ("M&Ms-2", "7")),
        ("CMRxMotions", "P001-1-ED", ("CMRxMotion", "1")),
        ("BraTS2018", "Brats18_CBICA_AAB_1", ("BraTS 2017-2019", "cbica aab 1")),
        ("BraTS2019", "BraTS19_CBICA_AAB_1", ("BraTS 2017-2019", "cbica aab 1")),
        ("BraTS2021", "brats2021_00587", ("BraTS 2021", "587")),
        ("picai_semi", "10000_1000000", ("PI-CAI", "10000")),
        ("gamma3", "gamma3_0001", ("GAMMA", "1")),
        ("\u03bc-RegPro_us", "case000012", ("RegPro", "12")),
        ("Totalsegmentator_dataset", "s0442", ("TotalSegmentator", "442")),
        ("hvsmr_2016", "training_axial_full_pat3", ("HVSMR", "3")),
        ("KiTS", "", ("KiTS", "")),
        ("KiTS", "left kidney", ("KiTS", "left kidney")),
        ("My hospital", "Case_00012", ("My hospital", "Case_00012")),
        ("gammaray", "0001", ("gammaray", "0001")),
        ("BTCV_Cervix", "1-2", ("BTCV Cervix", "1")),
    ],
)
def test_a_patient_is_known_by_numbering_and_number(source, case, patient):
    assert patient_of(source, case) == patient


def test_sources_that_number_alike_are_one():
    for group in (
        ("KiTS", "KiTS19", "KiTS2019", "KiTS2021", "kits23", "KiTS2023"),
        ("AMOS2022", "AMOS2022_CT", "AMOS2022_MR", "amos"),
        ("isic2016_task1", "isic2017_task1", "isic2018_task1", "ISIC2018"),
        ("MMWHS", "MMWHS_CT", "MMWHS_MR"),
        ("CrossMoDA21", "CrossMoDA22"),
        ("VerSe19", "VerSe20"),
        ("CHAOS_Task_4", "CHAOS"),
        ("sz_cxr", "Pulmonary_Chest_X-Ray_Abnormalities_seg"),
    ):
        assert len({numbering_of(source) for source in group}) == 1, group
        assert None not in {numbering_of(source) for source in group}, group


def test_copies_tie_their_originals_only_while_they_are_there():
    assert shared({"KiTS", "LiTS", "BTCV"}) == []
    assert shared({"KiTS", "LiTS", "AbdomenCT-1K", "ACDC"}) == [
        frozenset({"KiTS", "LiTS", "AbdomenCT-1K"})
    ]
    # Both hold cases of LiTS, which is not there itself.
    assert shared({"FLARE 2021", "CT-ORG"}) == [frozenset({"FLARE 2021", "CT-ORG"})]
    assert shared({"BraTS 2013", "BraTS 2021", "ISLES 2016", "ISLES 2017"}) == [
        frozenset({"BraTS 2013", "BraTS 2021"}),
        frozenset({"ISLES 2016", "ISLES 2017"}),
    ]


def test_rows_are_sound():
    names = [row.name for row in NUMBERINGS]
    assert len(names) == len(set(names))
    for row in COPIES:
        assert {*row.copies, *row.originals} <= set(names), row
        assert row.why
    tied = {name for row in COPIES for name in (*row.copies, *row.originals)}
    for row in NUMBERINGS:
        assert row.why or row.name in tied, row.name
        re.compile(row.sources)
        re.compile(row.case)
