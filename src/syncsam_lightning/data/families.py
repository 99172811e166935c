"""Which public data sets share patients, and how a patient is recognised under another name.

Challenges of later years, benchmarks and collections hand out again what others published. Where
they keep the numbers of the cases, a patient is known by :attr:`Numbering.sources` and number;
where they give numbers of their own, only that they share patients is known (:data:`COPIES`).

The rows say what the data sets' own papers and pages tell. Those marked *assumed* rest on names
that look alike, or on hearsay: wrong, they cost nothing but that some unrelated patients stay on
one side together.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

_CASES_REMEMBERED = 1 << 16


@dataclass(frozen=True, slots=True)
class Numbering:
    """Data sets in which equal numbers are one patient.

    Args:
        name: of the numbering.
        sources: regular expression that matches the names of the data sets, in lower case and
            without anything but letters and digits.
        why: what is known of them.
        case: regular expression that finds the patient in the name of a case, behind the name of
            the data set.
    """

    name: str
    sources: str
    why: str
    case: str = r"\d+"


@dataclass(frozen=True, slots=True)
class Copies:
    """Data sets that hand out cases of others under numbers of their own.

    Args:
        copies: names of their numberings.
        originals: names of the numberings that they took cases from.
        why: what is known of them.
    """

    copies: tuple[str, ...]
    originals: tuple[str, ...]
    why: str


NUMBERINGS: tuple[Numbering, ...] = (
    Numbering("KiTS", r"kits(20)?(19|21|23)?", "the later years keep case_00000 to case_00299"),
    Numbering(
        "LiTS", r"lits(20)?(17)?|msd(task0?3)?liver", "MSD's liver is LiTS (assumed: its numbers)"
    ),
    Numbering("AMOS", r"amos(20)?(22)?(ct|mri?)?", "CT below 500, MR from 500 on"),
    Numbering("ISIC", r"isic.*|ham10000", "numbers of the ISIC archive, the same in all years"),
    Numbering("PI-CAI", r"picai.*", "one set of scans, labelled in two ways"),
    Numbering("GAMMA", r"gamma\d?", "one set of images, labelled for two tasks"),
    Numbering("CHAOS", r"chaos.*", "its tasks share scans"),
    Numbering("MyoPS", r"myops(20)?\d*.*", "several sequences of each patient"),
    Numbering("MM-WHS", r"mmwhs.*", "CT and MR, one set of numbers (assumed: other patients)"),
    Numbering("RegPro", r"regpro.*", "ultrasound and MR of each patient"),
    Numbering("ACDC", r"acdc", "two frames of each patient (patient001_frame01, _frame12)"),
    Numbering("M&Ms-2", r"mnms2", "views and phases of each patient (001_SA_ED)"),
    Numbering("CMRxMotion", r"cmrxmotions?", "repeated scans of each volunteer (P001-1-ED)"),
    Numbering("HVSMR", r"hvsmr(20)?(16)?", "three crops of each patient"),
    Numbering(
        "MS lesions 2015",
        r"longitudinalmultiplesclerosis.*",
        "four or five visits of each patient (training01_02)",
    ),
    Numbering("CrossMoDA", r"crossmoda(20)?(2\d)?", "later years add to the first (assumed)"),
    Numbering("VerSe", r"verse(20)?(19|20)?", "86 patients are in both years (assumed: numbers)"),
    Numbering("TotalSegmentator", r"totalsegmentator.*", "versions keep s0000 to s1429 (assumed)"),
    Numbering("CVC-ClinicDB", r"cvcclinicdb|endovis(20)?15", "training set of that year's task"),
    Numbering(
        "Shenzhen and Montgomery",
        r"szcxr|shenzhen.*|montgomery.*|pulmonarychestxrayabnormalities.*",
        "one set of radiographs (CHNCXR_0001_0, MCUCXR_0001_0)",
    ),
    Numbering("autoPET", r"autopet.*|fdgpetctlesions", "one set of patients", case=r".+"),
    Numbering("BraTS 2017-2019", r"brats(20)?1[789]", "keep TCIA_101_1 and the like", case=r".+"),
    # What follows has one data set each, named by COPIES.
    Numbering("BraTS 2013", r"brats(20)?1[23]", "", case=r".+"),
    Numbering("BraTS 2015", r"brats(20)?1[456]", "", case=r".+"),
    Numbering("BraTS 2020", r"brats(20)?20", "", case=r".+"),
    Numbering("BraTS 2021", r"brats((20)?2[1-9])?(gli)?", "2023 keeps 2021's numbers (assumed)"),
    Numbering("MSD BrainTumour", r"(msd)?(task0?1)?braintumou?r", "", case=r".+"),
    Numbering("MSD Pancreas", r"msd(task0?7)?pancreas", ""),
    Numbering("MSD Spleen", r"msd(task0?9)?spleen", ""),
    Numbering("MSD Colon", r"msd(task10)?colon", ""),
    Numbering("NIH Pancreas", r"(nih|tcia)pancreas(ct)?|pancreasct", ""),
    Numbering("3D-IRCADb", r"(3d)?ircadb(0?1)?", "", case=r".+"),
    Numbering("BTCV", r"btcv|synapse", ""),
    Numbering("BTCV Cervix", r"btcvcervix", ""),
    Numbering("COVID-19-20", r"covid1920", "", case=r".+"),
    Numbering("AbdomenCT-1K", r"abdomenct1k", ""),
    Numbering("FLARE 2021", r"flare(20)?21", ""),
    Numbering("FLARE 2022", r"flare(20)?2[2-9]", ""),
    Numbering("CT-ORG", r"ctorg", ""),
    Numbering("CTPelvic1K", r"ctpelvic1k", "", case=r".+"),
    Numbering("CTSpine1K", r"ctspine1k(full)?", "", case=r".+"),
    Numbering("Learn2Reg CT", r"learn2reg.*abdomenctct", ""),
    Numbering("Learn2Reg MR-CT", r"learn2reg.*abdomenmrct.*", "pairs of one patient (assumed)"),
    Numbering("ISLES 2016", r"isles(20)?16", "", case=r".+"),
    Numbering("ISLES 2017", r"isles(20)?17", "", case=r".+"),
    Numbering("Chest pneumothorax A", r"chestimagepneum", "", case=r".+"),
    Numbering(
        "Chest pneumothorax B", r"chestxrayimageswithpneumothoraxmasks|siimacr.*", "", case=r".+"
    ),
    Numbering("Prostate MRI", r"prostatemrisegmentationdataset", "", case=r".+"),
    Numbering("PROMISE12", r"promise(20)?12", ""),
    Numbering("LUNA16", r"luna(20)?16", "", case=r".+"),
    Numbering("LIDC-IDRI", r"lidc(idri)?", "", case=r".+"),
)
"""Data sets by the numbers of their patients; a data set that no row names is on its own."""

_BRATS = ("BraTS 2013", "BraTS 2015", "BraTS 2017-2019", "BraTS 2020", "BraTS 2021")

COPIES: tuple[Copies, ...] = (
    Copies(
        (*_BRATS, "MSD BrainTumour"),
        (),
        "each year renames patients of the years before; MSD took those of 2016 and 2017",
    ),
    Copies(
        ("AbdomenCT-1K", "FLARE 2021", "FLARE 2022"),
        ("LiTS", "KiTS", "MSD Spleen", "MSD Pancreas", "NIH Pancreas"),
        "AbdomenCT-1K is made of them, FLARE 2021 of it; FLARE 2022's labelled cases are MSD's",
    ),
    Copies(("CT-ORG",), ("LiTS",), "131 of its 140 scans are those of LiTS"),
    Copies(("LiTS",), ("3D-IRCADb",), "twenty cases of LiTS"),
    Copies(
        ("CTPelvic1K",),
        ("KiTS", "MSD Colon", "BTCV", "BTCV Cervix"),
        "made of these and of colonographies",
    ),
    Copies(
        ("CTSpine1K",),
        ("LiTS", "MSD Colon", "COVID-19-20"),
        "made of colonographies, MSD and TCIA's COVID-19 scans (assumed: which parts of MSD)",
    ),
    Copies(("Learn2Reg CT",), ("BTCV",), "BTCV, cropped and resampled"),
    Copies(("Learn2Reg MR-CT",), ("BTCV", "CHAOS"), "its unpaired scans are of BTCV and CHAOS"),
    Copies(("ISLES 2017",), ("ISLES 2016",), "2017 adds to the patients of 2016"),
    Copies(
        ("Chest pneumothorax A",),
        ("Chest pneumothorax B",),
        "both are images of the SIIM-ACR challenge (assumed)",
    ),
    Copies(("Prostate MRI",), ("PROMISE12",), "three of its six sites are PROMISE12's"),
    Copies(("LUNA16",), ("LIDC-IDRI",), "888 scans of LIDC-IDRI"),
)
"""Who hands out whose patients under other numbers."""

_WORD_OR_YEAR = r"[^\W\d_]+|(19|20)\d\d"
_PATTERNS = tuple((row, re.compile(row.sources)) for row in NUMBERINGS)


@lru_cache(1 << 10)
def numbering_of(source: str) -> Numbering | None:
    """Return the row that a data set belongs to, None for one on its own."""
    name = _letters_and_digits(source)
    return next((row for row, sources in _PATTERNS if sources.fullmatch(name)), None)


@lru_cache(_CASES_REMEMBERED)
def patient_of(source: str, case: str) -> tuple[str, str]:
    """Return the patient that a case is of.

    Args:
        source: name of the data set.
        case: name of the case, for example ``case_00012``, ``KiTS_00012`` or ``00012``.

    Returns:
        name of the numbering and the patient in it, ``("KiTS", "12")``; for a data set on its own
        its name and the case, as they are.
    """
    numbering = numbering_of(source)
    if numbering is None:
        return source, case
    rest = _behind_the_name(case.casefold(), source.casefold(), numbering)
    found = re.search(numbering.case, rest)
    words = re.findall(r"\d+|[^\W\d_]+", found[0] if found else rest or case.casefold())
    return numbering.name, " ".join(word.lstrip("0") or "0" for word in words)


def shared(numberings: Collection[str]) -> list[frozenset[str]]:
    """Return which of some numberings share patients that no number tells.

    Args:
        numberings: names of those at hand.

    Returns:
        groups of two or more of them, sorted by their first name. Within a group each shares
        patients with another, or with the same that is not at hand.
    """
    groups: list[set[str]] = []
    for row in COPIES:
        # Copies that are not at hand don't tie their originals together.
        if not (at_hand := set(row.copies) & set(numberings)):
            continue
        tied = at_hand | set(row.originals)
        for group in [group for group in groups if group & tied]:
            groups.remove(group)
            tied |= group
        groups.append(tied)
    found = [frozenset(group & set(numberings)) for group in groups]
    return sorted((group for group in found if len(group) > 1), key=min)


def _letters_and_digits(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _behind_the_name(case: str, source: str, numbering: Numbering) -> str:
    """Return what follows the name of the data set, as far as a patient is found in it."""
    begins = re.match(rf"{re.escape(source)}(?=[\W_])(.*)", case)
    if begins and re.search(numbering.case, begins[1]):
        return begins[1]
    end = 0
    for word in re.finditer(r"[^\W_]+", case):
        # KiTS_21 is patient 21, not the year; nor does s0012 belong to a name.
        may_be_name = re.fullmatch(r"[^\W\d_]+(\d{0,4})" if not end else _WORD_OR_YEAR, word[0])
        name, rest = _letters_and_digits(case[: word.end()]), case[word.end() :]
        is_name = may_be_name and re.fullmatch(numbering.sources, name)
        if not is_name or not re.search(numbering.case, rest):
            break
        end = word.end()
    return case[end:]
