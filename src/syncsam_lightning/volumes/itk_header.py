"""Headers of NRRD and MetaImage files, checked before ITK reads them.

ITK follows what a header names, makes room for what it declares, and does not look at checksums: a
header that does so more than a file of one piece needs is refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncsam_lightning.errors import NOT_FOUND, BrokenInputError
from syncsam_lightning.volumes.gzipped import MOST_INFLATED
from syncsam_lightning.volumes.volume import MAX_VOXELS

MAX_HEADER = 1 << 22
"""Bytes that a header may have: that of a segmentation has some lines for each segment."""

_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), 1),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int"), 2),
    **dict.fromkeys(("int16", "int16_t", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int"), 4),
    **dict.fromkeys(("uint32", "uint32_t", "float"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long"), 8),
    **dict.fromkeys(("signed long long int", "int64", "int64_t", "ulonglong"), 8),
    **dict.fromkeys(("unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
    "double": 8,
}
"""Bytes of a number, by the names that a NRRD header may give its type."""

_META_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
GZIP, ZLIB, RAW = "gzip", "zlib", "raw"
"""How voxels are stored in a file."""

_ENCODINGS = {"raw": RAW, "gzip": GZIP, "gz": GZIP}
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9 ]*): ?(.*)")
_PAIR = re.compile(r"([^:=]+):=(.*)")
# ITK hands on what an image was made of, by names such as 0008|0060. It takes a colon for "=".
_META_LINE = re.compile(r"([A-Za-z0-9_|][A-Za-z0-9_|.()/ -]{0,98}?) *= *(.*)")
_META_VECTORS = (
    *("DimSize", "ElementSpacing", "ElementSize"),
    *("Offset", "Position", "Origin", "CenterOfRotation"),
)
_META_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_MOST_DIGITS = 20  # of a label and a layer
_SEGMENT = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segmentation of 3D Slicer calls an object.

    Args:
        name: of the object.
        value: that its voxels have.
        layer: that it lies in; objects that overlap lie in several.
    """

    name: str
    value: int
    layer: int


@dataclass(frozen=True, slots=True)
class ItkHeader:
    """What a header declares.

    Args:
        sizes: of all axes, the fastest first.
        itemsize: bytes of a number.
        encoding: :data:`RAW`, :data:`GZIP` or :data:`ZLIB`.
        begin: where the voxels begin in the file.
        is_nrrd: whether it is NRRD, else MetaImage.
        is_placed: whether it says how the axes lie in the patient.
        has_spacing: whether it says how far voxels are apart.
        segments: of a segmentation of 3D Slicer.
    """

    sizes: tuple[int, ...]
    itemsize: int
    encoding: str
    begin: int
    is_nrrd: bool
    is_placed: bool
    has_spacing: bool
    segments: Sequence[Segment] = field(default=())

    @property
    def size(self) -> int:
        """Bytes of all numbers."""
        return self.itemsize * math.prod(self.sizes)


def read_itk_header(path: Path) -> ItkHeader:
    """Read the header of a NRRD or MetaImage file.

    Raises:
        BrokenInputError: the file is missing or neither; its voxels lie in another file, are more
            than are read or than it holds, or are written in a way that isn't read.
    """
    if not path.is_file():
        raise BrokenInputError(str(path), "file not found", NOT_FOUND)
    try:
        held = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(MAX_HEADER)
    except OSError as error:
        raise BrokenInputError(str(path), f"cannot be read ({error})") from error
    header = _nrrd(path, begin) if begin.startswith(b"NRRD") else _meta(path, begin)
    if len(header.sizes) < 2 or min(header.sizes) < 1:
        raise BrokenInputError(str(path), f"not a volume: its shape is {header.sizes}")
    if math.prod(header.sizes) > MAX_VOXELS:
        raise BrokenInputError(str(path), f"declares {header.sizes} voxels, over the limit")
    held -= header.begin
    if header.size > held * (1 if header.encoding == RAW else MOST_INFLATED):
        raise BrokenInputError(
            str(path), f"declares {header.size} bytes, which its {held} bytes cannot hold"
        )
    return header


def _nrrd(path: Path, data: bytes) -> ItkHeader:
    end = re.search(rb"\n\r?\n", data)
    lines = _text(path, data[: end.start()] if end else data).rstrip("\n").split("\n")
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("#"):
            continue
        if found := _PAIR.fullmatch(line):
            pairs[found[1]] = found[2].replace("\\n", "\n").replace("\\\\", "\\")
            continue
        found = _FIELD.fullmatch(line)
        name = found[1].replace(" ", "").lower() if found else ""
        if found is None or name in fields:
            raise BrokenInputError(
                str(path), f"line {number} of its header, {line[:40]!r}, is no field of NRRD"
            )
        fields[name] = found[2].strip()
    if elsewhere := fields.get("datafile"):
        raise _detached(path, elsewhere, ".nrrd")
    if end is None:
        raise BrokenInputError(str(path), "its header has no end")
    if skips := [name for name in ("lineskip", "byteskip") if fields.get(name, "0") != "0"]:
        raise BrokenInputError(str(path), f"its header has a {skips[0]}: save it without")
    encoding = fields.get("encoding", "").lower()
    if encoding not in _ENCODINGS:
        raise BrokenInputError(
            str(path), f"its voxels are encoded as {encoding!r}: save them as raw or gzip"
        )
    kind = fields.get("type", "").lower()
    if kind not in _NRRD_TYPES:
        raise BrokenInputError(str(path), f"holds {kind or 'no type'}, not plain numbers")
    sizes = _whole_numbers(path, "sizes", fields.get("sizes", ""))
    if [len(sizes)] != _whole_numbers(path, "dimension", fields.get("dimension", "")):
        raise BrokenInputError(
            str(path), f"has {len(sizes)} sizes, but dimension {fields.get('dimension')}"
        )
    is_placed = "space" in fields and "spacedirections" in fields
    has_spacing = "spacedirections" in fields or "spacings" in fields
    return ItkHeader(
        tuple(sizes),
        _NRRD_TYPES[kind],
        _ENCODINGS[encoding],
        end.end(),
        True,
        is_placed,
        has_spacing,
        _segments(path, pairs, is_layered=len(sizes) == 4),
    )


def _segments(path: Path, pairs: Mapping[str, str], *, is_layered: bool) -> list[Segment]:
    found: dict[int, dict[str, str]] = {}
    for key, value in pairs.items():
        if part := _SEGMENT.fullmatch(key):
            found.setdefault(int(part[1][:9]), {})[part[2]] = value
    segments = []
    for number, about in sorted(found.items()):
        name = " ".join(about.get("Name", "").split()) or f"Segment {number + 1}"
        # Files of before 3D Slicer 4.11 have a layer for each segment, and no further word.
        label, layer = about.get("LabelValue", "1"), about.get("Layer", str(number))
        if not (label.isdecimal() and layer.isdecimal() and len(label + layer) < _MOST_DIGITS):
            raise BrokenInputError(
                str(path), f"its Segment{number} has LabelValue {label[:20]}, Layer {layer[:20]}"
            )
        segments.append(Segment(name, int(label), int(layer) if is_layered else 0))
    return segments


def _meta(path: Path, data: bytes) -> ItkHeader:
    end = re.search(rb"^ElementDataFile *=[^\n]*\n?", data, re.MULTILINE)
    if end is None:
        raise BrokenInputError(str(path), "is neither NRRD nor MetaImage")
    fields: dict[str, str] = {}
    lines = _text(path, data[: end.end()]).rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        found = _META_LINE.fullmatch(line)
        if found is None or found[1] in fields:
            raise BrokenInputError(
                str(path), f"line {number} of its header, {line[:40]!r}, is no field of MetaImage"
            )
        fields[found[1]] = found[2].strip()
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise _detached(path, fields["ElementDataFile"], ".mha")
    if fields.get("HeaderSize", "0") != "0":
        raise BrokenInputError(str(path), "its header has a HeaderSize: save it without")
    if fields.get("BinaryData", "").lower() != "true":
        raise BrokenInputError(str(path), "its voxels are written as text: save them as binary")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise several_values(path, fields["ElementNumberOfChannels"])
    kind = fields.get("ElementType", "")
    if kind not in _META_TYPES:
        raise BrokenInputError(str(path), f"holds {kind or 'no ElementType'}, not plain numbers")
    sizes = _whole_numbers(path, "DimSize", fields.get("DimSize", ""))
    for names, expected in ((_META_VECTORS, len(sizes)), (_META_MATRICES, len(sizes) ** 2)):
        for name in names:
            if name in fields and len(fields[name].split()) != expected:
                raise BrokenInputError(
                    str(path), f"has {name} {fields[name]}, expected {expected} numbers"
                )
    if [len(sizes)] != _whole_numbers(path, "NDims", fields.get("NDims", "")):
        raise BrokenInputError(str(path), f"has {len(sizes)} sizes, but NDims {fields['NDims']}")
    return ItkHeader(
        tuple(sizes),
        _META_TYPES[kind],
        ZLIB if fields.get("CompressedData", "").lower() == "true" else RAW,
        end.end(),
        False,
        any(name in fields for name in _META_MATRICES),
        "ElementSpacing" in fields or "ElementSize" in fields,
    )


def _text(path: Path, data: bytes) -> str:
    """Return the lines of a header, which no control character may bring apart otherwise."""
    text = data.replace(b"\r\n", b"\n").removesuffix(b"\r").decode("utf-8", "replace")
    if wrong := re.search(r"[\x00-\x08\x0b-\x1f]", text):
        raise BrokenInputError(
            str(path), f"its header holds the character {wrong[0]!r}, which is no text"
        )
    return text


def _whole_numbers(path: Path, name: str, text: str) -> list[int]:
    if not re.fullmatch(r"(\d{1,12}\s*)+", text, re.ASCII):
        raise BrokenInputError(
            str(path), f"has {name} {text[:40]!r} in its header, expected whole numbers"
        )
    return [int(number) for number in text.split()]


def several_values(path: Path, count: object) -> BrokenInputError:
    """Return what is said of colours and vectors."""
    return BrokenInputError(
        str(path),
        f"holds {count} values for each voxel (colours or vectors), expected one: save the "
        "one that you mean",
    )


def _detached(path: Path, elsewhere: str, suffix: str) -> BrokenInputError:
    return BrokenInputError(
        str(path),
        f"keeps its voxels in another file, {elsewhere[:80]}: save it as one file ({suffix}, with "
        "the voxels inside)",
    )
