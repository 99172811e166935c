"""What file names of SA-Med2D-20M say.

Names are parsed on ``--`` only: names of sources are substrings of one another (``KiTS`` and
``KiTS2021``) and contain single dashes and underscores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

FOLDER = "SAMed2Dv1"
INDEX = "SAMed2D_v1.json"
CLASSES = "SAMed2D_v1_class_mapping_id.json"
SUFFIX = ".png"

BAD_IMAGE = "its name is not MODALITY_SUB--DATASET--CASE--AXIS_SLICE.png"
BAD_MASK = "its name is not its image's name with --CLASS_INSTANCE"

# The modalities whose first word alone does not name them.
_TWO_WORDS = ("x_ray", "fundus_photography")
_TOKEN = re.compile(r"[a-z]+(_[a-z0-9]+)+")
_POSITION = re.compile(r"(?:[xyz]_\d+|2d_none)")
_OBJECT = re.compile(r"(?P<class_id>\d{4,})_(?P<instance>\d{3,})")


@dataclass(frozen=True, slots=True)
class ImageName:
    """The fields of an image's file name."""

    modality: str
    source: str
    case: str
    position: str

    @classmethod
    def parse(cls, stem: str) -> ImageName | None:
        """Return the fields, None for a name of another form."""
        fields = stem.split("--")
        if len(fields) != 4 or not all(fields):
            return None
        token, source, case, position = fields
        if not _TOKEN.fullmatch(token) or not _POSITION.fullmatch(position):
            return None
        modality = token if token in _TWO_WORDS else token.partition("_")[0]
        return cls(modality, source, case, position)


@dataclass(frozen=True, slots=True)
class MaskName:
    """The fields that a mask's file name has behind those of its image."""

    image: str
    class_id: int
    instance: int

    @classmethod
    def parse(cls, stem: str) -> MaskName | None:
        """Return the fields, None for a name of another form."""
        image, _, suffix = stem.rpartition("--")
        found = _OBJECT.fullmatch(suffix)
        if not image or found is None:
            return None
        return cls(image, int(found["class_id"]), int(found["instance"]))


def kind_of(name: str) -> tuple[str, str]:
    """Return ``images`` or ``masks`` and the stem, or the file name of anything else."""
    path, _, file = name.rpartition("/")
    folder = path.rpartition("/")[2]
    if folder in ("images", "masks") and file.endswith(SUFFIX):
        return folder, file.removesuffix(SUFFIX)
    return file, ""


def source_of(stem: str) -> str:
    """Return the data set that a name tells, ``""`` if it tells none."""
    fields = stem.split("--")
    return fields[1] if len(fields) >= 4 else ""


def file_of(entry: str, folder: str) -> str | None:
    """Return the file name of ``FOLDER/NAME.png``; None for what lies elsewhere or leaves it."""
    parts = PurePosixPath(entry)
    if parts.parts != (folder, parts.name) or "\\" in entry or "\0" in entry:
        return None
    return parts.name if parts.suffix == SUFFIX else None
