"""Splits keep shares, follow the release, and have no patient on two sides."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syncsam_datamodules.imed361m.rules import TURNED_90, TURNED_180

from syncsam_lightning.data.families import patient_of
from syncsam_lightning.data.splits import SplitRule, Splitter
from syncsam_lightning.records import NamedMask, RawSample

# Data sets of SA-Med2D-20M, as its public readers list them.
SAMED2D = re.findall(
    r"\S+",
    """ACDC AMOS2022 ATM2022 AbdomenCT1K ASC18 COSMOS2022 BTCV BTCV_Cervix BraTS2013 BraTS2015
BraTS2018 BraTS2019 BraTS2020 BraTS2021 Brain_PTM CAD_PE CHAOS_Task_4 CMRxMotions COVID19CTscans
COVID-19-20 covid_19_ct_cxr crass CTPelvic1k CTSpine1K_Full cvc_clinicdb Chest_Image_Pneum cranium
CrossMoDA21 CrossMoDA22 EMIDEC endovis15 FLARE21 FLARE22 fusc2021 hvsmr_2016 Heart_Seg_MRI
ichallenge_adam_task2 PALM19 gamma gamma3 ISLES_SPES ISLES_SISS ISLES2016 ISLES2017 ISLES2018
ISLES2022 Instance22 KiTS KiTS2021 LNDb LUNA16 LongitudinalMultipleSclerosisLesionSegmentation mnms2
MMWHS BrainTumour MSD_Heart MSD_Liver MSD_Prostate MSD_Lung MSD_Pancreas MSD_HepaticVessel
MSD_Spleen MSD_Colon CT_ORG picai_baseline picai_semi Promise09 PROMISE12 Parse22
chest_x_ray_images_with_pneumothorax_masks Prostate_MRI_Segmentation_Dataset
Pulmonary_Chest_X-Ray_Abnormalities_seg QUBIQ2020 StructSeg2019_subtask1 StructSeg2019_subtask2
Totalsegmentator_dataset ultrasound_nerve_segmentation VESSEL2012 VerSe20 VerSe19 WORD autoPET
braimMRI breast_ultrasound_images_dataset kvasircapsule_seg sz_cxr EndoVis_2017_RIS kvasir_seg
isic2018_task1 isic2017_task1 isic2016_task1""",
)
IMED361M = sorted(TURNED_90 | TURNED_180 | {"ACDC", "CMRxMotions", "ISIC2018", "MSD_Pancreas"})

NAMES = ("case_{:05d}", "{source}_{:05d}_x", "{source}_{:05d}_y", "{:04d}", "img{}")
# Which data sets share patients, told here once more and by hand.
SHARING = (
    {"KiTS", "KiTS2021", "KiTS2023"},
    {"BraTS2013", "BraTS2015", "BraTS2018", "BraTS2019", "BraTS2020", "BraTS2021", "BrainTumour"},
    {"FLARE21", "FLARE22", "AbdomenCT1K"},
    {"AbdomenCT1K", "KiTS", "KiTS2021", "KiTS2023", "MSD_Liver", "MSD_Spleen", "MSD_Pancreas"},
    {"BTCV", "Learn2Reg2022_L2R_task1_AbdomenCTCT"},
    {"AMOS2022", "AMOS2022_CT", "AMOS2022_MR"},
    {"isic2016_task1", "isic2017_task1", "isic2018_task1"},
    {"picai_baseline", "picai_semi"},
    {"gamma", "gamma3"},
)
MASK = [NamedMask("organ", np.ones((2, 2), bool))]


def sample(source, case, number=0, split=None):
    return RawSample(
        id=f"{source}/{case}/{number}",
        image=np.zeros((2, 2), np.uint8),
        masks=MASK,
        modality="ct",
        source=source,
        case=case,
        split=split,
    )


def sides(samples, **rule):
    splitter = Splitter(samples, SplitRule(**rule))
    return [splitter(item) for item in samples], splitter


def by_patient(samples, found):
    """Return the sides of each patient."""
    groups = defaultdict(set)
    for item, side in zip(samples, found, strict=True):
        groups[patient_of(item.source, item.case)].add(side)
    return groups


def release(sources, cases=40, slices=3, split=lambda source, case, number: None):
    return [
        sample(source, name.format(case, source=source), number, split(source, case, number))
        for source in sources
        for case in range(cases)
        for number, name in enumerate(NAMES[:slices])
    ]


def test_shares_are_those_asked_for_and_validation_is_a_share_of_all():
    samples = [sample("A", f"{number}") for number in range(200)]
    found, _ = sides(samples, test_fraction=0.5, val_fraction=0.1)
    assert Counter(found) == {"test": 100, "val": 20, "train": 80}


def test_validation_is_a_share_of_what_the_release_trains_on():
    samples = [sample("A", f"{n}", split="train" if n < 60 else "test") for n in range(100)]
    found, _ = sides(samples, test_fraction=0.5, val_fraction=0.1)
    assert Counter(found) == {"test": 40, "val": 6, "train": 54}


def test_equal_names_of_cases_in_two_data_sets_are_two_cases():
    samples = [sample(source, f"{n}") for source in ("A", "B") for n in range(200)]
    found, _ = sides(samples, test_fraction=0.5, val_fraction=0)
    assert Counter(found) == {"test": 200, "train": 200}
    pairs = Counter(zip(found[:200], found[200:], strict=True))
    # Drawn one by one: each of the four pairs of sides comes up about as often.
    assert min(pairs.values()) > 20
    assert len(pairs) == 4


@pytest.mark.parametrize(
    "fractions",
    [
        {"test_fraction": float("nan")},
        {"val_fraction": float("nan")},
        {"test_fraction": float("inf")},
        {"test_fraction": -0.1},
        {"test_fraction": 1.5},
        {"test_fraction": 0.9, "val_fraction": 0.1},
    ],
)
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ValueError, match="test_fraction and val_fraction must be"):
        SplitRule(**fractions)


def test_slices_without_a_split_follow_the_others_of_their_case():
    marks = {0: "train", 1: "val", 2: "test"}
    samples = [
        sample("A", f"{case}", number, marks.get(case % 4) if number == 0 else None)
        for case in range(40)
        for number in range(3)
    ]
    found, splitter = sides(samples, test_fraction=0.3, val_fraction=0.2)
    assert all(len(group) == 1 for group in by_patient(samples, found).values())
    for item, side in zip(samples, found, strict=True):
        expected = marks.get(int(item.case) % 4)
        assert side == expected or expected is None
    assert splitter.notes() == []


def test_an_official_split_of_slices_stays_and_is_told():
    samples = [
        sample("A", f"{case}", number, ("train", "test")[number])
        for case in range(30)
        for number in range(2)
    ]
    samples += [sample("B", f"{case}", 0, "train") for case in range(20)]
    found, splitter = sides(samples, val_fraction=0.1)
    assert [side for item, side in zip(samples, found, strict=True) if item.split == "test"] == [
        "test"
    ] * 30
    # Validation is drawn from patients who are not tested on.
    drawn = {item.source for item, side in zip(samples, found, strict=True) if side == "val"}
    assert drawn == {"B"}
    assert splitter.notes() == [
        "cases on two sides, by the official split: 30 of A in train and test"
    ]


def test_a_release_split_by_image_stays_and_its_cases_are_told():
    samples = release(["KiTS", "WORD"], cases=30, slices=3)
    found, splitter = sides(samples, by="image", test_fraction=0.4, val_fraction=0)
    assert Counter(found)["test"] == round(0.4 * len(samples))
    (note,) = splitter.notes()
    assert note.startswith("cases on two sides, by split_by image: ")
    assert "of KiTS in train and test" in note


def test_patients_of_several_years_lie_on_one_side_with_the_shares_kept():
    samples = release(["KiTS", "KiTS2021", "KiTS2023"], cases=300)
    found, splitter = sides(samples)
    groups = by_patient(samples, found)
    assert len(groups) == 300
    assert all(len(group) == 1 for group in groups.values())
    counts = Counter(next(iter(group)) for group in groups.values())
    assert 40 <= counts["test"] <= 80
    assert 5 <= counts["val"] <= 30
    assert splitter.notes() == []


def test_tables_that_are_split_one_by_one_have_a_patient_on_the_same_side():
    groups = defaultdict(set)
    for sources in (["KiTS"], ["KiTS2021", "WORD"], ["KiTS2023", "AMOS2022_CT", "ACDC"]):
        samples = release(sources, cases=200)
        for patient, found in by_patient(samples, sides(samples)[0]).items():
            groups[patient] |= found
    assert all(len(found) == 1 for found in groups.values())


def test_patients_under_names_that_tell_nothing_are_trained_on_and_told():
    samples = release(["BraTS2020", "BraTS2021", "WORD"])
    found, splitter = sides(samples)
    kept = {side for item, side in zip(samples, found, strict=True) if item.source != "WORD"}
    assert kept == {"train"}
    assert {side for item, side in zip(samples, found, strict=True) if item.source == "WORD"} == {
        "train",
        "val",
        "test",
    }
    assert splitter.notes() == [
        "BraTS2020 and BraTS2021 share patients under names of their own: "
        "all their images are in train"
    ]


def test_alone_a_data_set_with_copies_is_split_as_any_other():
    samples = release(["BraTS2020", "WORD"])
    found, splitter = sides(samples)
    assert {s for item, s in zip(samples, found, strict=True) if item.source == "BraTS2020"} == {
        "train",
        "val",
        "test",
    }
    assert splitter.notes() == []


def test_copies_follow_an_official_test_set():
    def split(source, case, number):
        return "test" if source == "BraTS2020" else None

    samples = release(["BraTS2020", "BraTS2021", "WORD"], split=split)
    found, _ = sides(samples)
    assert {s for item, s in zip(samples, found, strict=True) if item.source != "WORD"} == {"test"}


def test_an_official_split_over_copies_is_told():
    def split(source, case, number):
        return "test" if source == "BraTS2020" else "train"

    samples = release(["BraTS2020", "BraTS2021"], split=split)
    found, splitter = sides(samples)
    assert Counter(found) == {"train": 120, "test": 120}
    assert "their images are in train and test" in splitter.notes()[0]


@pytest.mark.parametrize("sources", [["KiTS"], ["WORD"], ["KiTS", "WORD"], ["KiTS", "KiTS2021"]])
@pytest.mark.parametrize("cases", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_few_cases_give_at_least_one_for_each_share_and_one_to_train_on(sources, cases, seed):
    samples = release(sources, cases=cases, slices=1)
    found, _ = sides(samples, test_fraction=0.2, val_fraction=0.1, seed=seed)
    patients = {patient_of(item.source, item.case) for item in samples}
    assert "train" in found
    assert ("test" in found) == (len(patients) > 1)
    assert ("val" in found) == (len(patients) > 2)


@pytest.mark.parametrize("sources", [["KiTS"], ["WORD"], ["BraTS2020", "BraTS2021"]])
def test_everything_is_for_test_where_that_is_asked_for(sources):
    found, _ = sides(release(sources, cases=5), test_fraction=1, val_fraction=0.05)
    assert set(found) == {"test"}


@pytest.mark.parametrize("sources", [SAMED2D, IMED361M, SAMED2D + IMED361M])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_patient_of_the_public_collections_lies_on_two_sides(sources, seed):
    samples = release(sorted(set(sources)), cases=30)
    found, splitter = sides(samples, seed=seed)
    on_two_sides = [p for p, group in by_patient(samples, found).items() if len(group) > 1]
    assert on_two_sides == []
    by_source = defaultdict(lambda: defaultdict(set))
    for item, side in zip(samples, found, strict=True):
        number = "".join(c for c in item.case.removeprefix(item.source) if c.isdigit())
        by_source[item.source][int(number)].add(side)
    for group in SHARING:
        for number in range(30):
            drawn = {s for source in group & set(sources) for s in by_source[source][number]}
            assert len(drawn) <= 1, (group, number)
    for note in splitter.notes():
        assert note.endswith("all their images are in train")
    counts = Counter(found)
    assert counts["test"] > 0.05 * len(samples)
    assert counts["val"] > 0.01 * len(samples)


def test_slices_of_a_case_that_is_trained_on_follow_it_though_a_copy_is_validated_on():
    # BraTS2013 and BraTS2020 share patients under numbers of their own.
    samples = [
        sample("BraTS2013", "0000", 0, None),
        sample("BraTS2013", "0000", 1, "train"),
        sample("BraTS2020", "0007", 2, "val"),
    ]
    found, _ = sides(samples, test_fraction=0.0, val_fraction=0.0)
    assert found == ["train", "train", "val"]


MARKS = st.sampled_from([None, None, None, "train", "val", "test"])
SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([*SAMED2D[:20], "KiTS", "KiTS2021", "WORD", "my data"]),
        st.integers(0, 6),
        st.sampled_from(NAMES),
        MARKS,
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(
    drawn=SAMPLES,
    test_fraction=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    val_fraction=st.sampled_from([0.0, 0.05, 0.09]),
    seed=st.integers(0, 3),
)
def test_what_is_drawn_puts_no_patient_on_two_sides(drawn, test_fraction, val_fraction, seed):
    samples = [
        sample(source, name.format(case, source=source), number, mark)
        for number, (source, case, name, mark) in enumerate(drawn)
    ]
    found, _ = sides(samples, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed)
    groups = defaultdict(lambda: (set(), set(), set()))
    for item, side in zip(samples, found, strict=True):
        marks, free, trained = groups[patient_of(item.source, item.case)]
        if item.split in ("val", "test"):
            assert side == item.split
        elif item.split == "train":
            assert side in ("train", "val")
            trained.add(side)
        else:
            free.add(side)
        marks.add(item.split)
    for marks, free, trained in groups.values():
        assert len(free) <= 1
        assert len(trained) <= 1
        official = marks & {"val", "test"}
        if not official:
            assert len(free | trained) <= 1
        elif free and len(official) == 1 and "train" not in marks:
            assert free == official or free == {"test"}
    # The same release in another order is split alike.
    again, _ = sides(
        samples[::-1], test_fraction=test_fraction, val_fraction=val_fraction, seed=seed
    )
    assert again[::-1] == found
