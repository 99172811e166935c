"""What file names of IMed-361M say of the case and of the slice in it."""

from __future__ import annotations

import re

_STEM = re.compile(
    r"(?P<case>.+?)(_(?P<axis>[xyz]))?(_(?P<number>(frame|slice)?\d+))?(_(?P<last_axis>[xyz]))?"
)
_NAME_OF_A_DATA_SET = re.compile(r"(?P<letters>[a-z]+)((19|20)\d\d)?")


def case_and_slice(stem: str, data_set: str) -> tuple[str, str]:
    """Split the name of an image into case and position.

    A number at the end is that of the slice only where the case has one of its own: ``ABD_001_100``
    is slice 100 of ``ABD_001``, but ``ISIC_0012345`` and ``ISIC2018_0000001`` are cases; the year
    belongs to the data set. An axis is no part of the case: ``KiTS_00012_x`` and ``KiTS_00012_y``
    are cut from one volume.

    Args:
        stem: name of the image file, without its suffix.
        data_set: name of the data set.

    Returns:
        the case, and the position in it, ``""`` if the name tells none.
    """
    found = _STEM.fullmatch(stem)
    if found is None:
        return stem, ""
    case, number = found["case"], found["number"] or ""
    axis = found["axis"] or found["last_axis"] or ""
    if number and not _has_number(case, data_set):
        # What stands between the two is no axis of slices, but part of a name.
        case, number = stem[: found.end("number")], ""
        axis = found["last_axis"] or ""
    if not _has_number(case, data_set):
        return stem, ""
    return case, "_".join(part for part in (axis, number) if part)


def _has_number(case: str, data_set: str) -> bool:
    """Tell whether a name holds a number beside the one that the data set is called by."""
    first, *others = re.split(r"[_\W]+", case)
    name = re.sub(r"[^a-z0-9]", "", data_set.casefold())
    found = _NAME_OF_A_DATA_SET.fullmatch(first.casefold())
    letters = re.match(r"[a-z]*", name)
    is_name = name.startswith(first.casefold()) or (
        found is not None and letters is not None and found["letters"] == letters[0]
    )
    words = others if is_name else [first, *others]
    return any(character.isdigit() for word in words for character in word)
