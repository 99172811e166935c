from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import Window, jpeg_frames
from syncsam_lightning.volumes.dicom import read_series

Write = Callable[..., list[Path]]
VALUES = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 1)).astype(np.int16)


@pytest.fixture
def file(dicom: Write) -> Path:
    return dicom(VALUES)[0]


def edit(path: Path, **tags: object) -> Path:
    image = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(image, name, value)
        if " or " in image[name].VR:
            image[name].VR = "OW" if isinstance(value, bytes) else "US"
    image.save_as(path)
    return path


def compressed(path: Path, syntax: str, frame: bytes, **tags: object) -> Path:
    image = pydicom.dcmread(path)
    image.PixelData = encapsulate([frame])
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax
    for name, value in tags.items():
        setattr(image, name, value)
    image.save_as(path)
    return path


# Scale


@pytest.mark.parametrize("slope", [None, "missing"])
def test_an_intercept_without_a_slope_shifts_the_values(file: Path, slope: str | None):
    image = pydicom.dcmread(file)
    image.RescaleSlope = None
    if slope == "missing":
        del image.RescaleSlope
    image.save_as(file)
    np.testing.assert_array_equal(read_series([file]).voxels, VALUES)


def test_a_slope_without_an_intercept_scales_the_values(file: Path):
    image = pydicom.dcmread(edit(file, RescaleSlope=0.5))
    del image.RescaleIntercept
    image.save_as(file)
    stored = VALUES.astype(np.float32) + 1024
    np.testing.assert_array_equal(read_series([file]).voxels, stored / 2)


def test_a_slope_that_makes_all_pixels_alike_is_refused(file: Path):
    edit(file, RescaleSlope=0)
    with pytest.raises(BrokenInputError, match="RescaleSlope 0, by which all of its pixels"):
        read_series([file])


def test_an_empty_slice_may_have_a_slope_of_0(file: Path):
    edit(file, RescaleSlope=0, RescaleIntercept=0, PixelData=bytes(2 * VALUES.size))
    assert not read_series([file]).voxels.any()


# Padding


def test_padding_is_background_below_everything(file: Path):
    # -2000, as scanners fill the corners of a round field of view, written as if unsigned.
    stored = VALUES[:, :, 0].T.copy()
    stored[0] = -2000
    tags = {"PixelData": stored.tobytes(), "RescaleIntercept": 0, "PixelRepresentation": 1}
    image = pydicom.dcmread(edit(file, **tags))
    image.add_new("PixelPaddingValue", "US", 63536)
    image.save_as(file)
    volume = read_series([file])
    assert np.isneginf(volume.voxels[:, 0]).all()
    np.testing.assert_array_equal(volume.voxels[:, 1:], VALUES[:, 1:])
    assert Window(rule="minmax").fitted(volume.voxels).low == VALUES[:, 1:].min()


def test_a_range_of_padding_is_padding(file: Path):
    lowest = int(VALUES.min()) + 1024
    edit(file, PixelPaddingValue=lowest + 300, PixelPaddingRangeLimit=lowest)
    is_padding = VALUES.min() + 300 >= VALUES
    voxels = read_series([file]).voxels
    np.testing.assert_array_equal(np.isneginf(voxels), is_padding)
    np.testing.assert_array_equal(voxels[~is_padding], VALUES[~is_padding])


def test_padding_stays_background_where_small_is_bright(file: Path):
    edit(file, PixelPaddingValue=int(VALUES.max()) + 1024, PhotometricInterpretation="MONOCHROME1")
    voxels = read_series([file]).voxels
    np.testing.assert_array_equal(np.isneginf(voxels), VALUES.max() == VALUES)


def of_floats(path: Path, kind: str, stored: np.ndarray, **tags: object) -> Path:
    image = pydicom.dcmread(path)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del image[name]
    image.BitsAllocated = 8 * stored.itemsize
    setattr(image, f"{kind}PixelData", stored.tobytes())
    image.save_as(path)
    return edit(path, **tags)


@pytest.mark.parametrize(("kind", "dtype"), [("Float", "<f4"), ("DoubleFloat", "<f8")])
def test_padding_of_float_pixels_is_padding_too(file: Path, kind: str, dtype: str):
    stored = np.linspace(-1, 1, 30).reshape(5, 6).astype(dtype)
    # The lowest number that there is, as is usual: no scaled one of it would be finite.
    stored[0], stored[1] = np.finfo(dtype).min, -1e30
    lowest, highest = float(stored[0, 0]), float(stored[1, 0])
    tags = {"RescaleSlope": 4, "RescaleIntercept": 1}
    tags |= {f"{kind}PixelPaddingValue": highest, f"{kind}PixelPaddingRangeLimit": lowest}
    voxels = read_series([of_floats(file, kind, stored, **tags)]).voxels[..., 0].T
    assert np.isneginf(voxels[:2]).all()
    np.testing.assert_allclose(voxels[2:], 4 * stored[2:] + 1, rtol=1e-6)


@pytest.mark.parametrize("value", ["nan", "-inf", "inf"])
def test_padding_of_float_pixels_may_be_no_number(file: Path, value: str):
    stored = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 6)
    of_floats(file, "Float", stored, RescaleIntercept=0, FloatPixelPaddingValue=float(value))
    np.testing.assert_allclose(read_series([file]).voxels[..., 0].T, stored)
    stored[0, :3] = float(value)
    image = pydicom.dcmread(file)
    image.FloatPixelData = stored.tobytes()
    image.save_as(file)
    voxels = read_series([file]).voxels[..., 0].T
    assert np.isneginf(voxels[0, :3]).all()
    np.testing.assert_allclose(voxels.ravel()[3:], stored.ravel()[3:])


# Palettes


def palette(path: Path, *colours: np.ndarray) -> Path:
    """Give an image a palette of 256 colours of 16 bits, and indices 0 to 29 for pixels."""
    tags: dict[str, object] = {
        "PhotometricInterpretation": "PALETTE COLOR",
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        "PixelData": np.arange(30, dtype=np.uint8).tobytes(),
    }
    for name, values in zip(("Red", "Green", "Blue"), colours, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = values.astype("<u2").tobytes()
    return edit(path, **tags)


def test_a_grey_palette_shows_its_grey_not_its_indices(file: Path):
    grey = np.random.default_rng(3).permutation(256) * 256
    voxels = read_series([palette(file, grey, grey, grey)]).voxels
    expected = grey[np.arange(30)].reshape(5, 6).T[..., None]
    np.testing.assert_allclose(voxels, expected, atol=0.01)


def test_a_palette_that_is_not_there_is_told(file: Path):
    with pytest.raises(BrokenInputError, match="its palette cannot be applied"):
        read_series([edit(file, PhotometricInterpretation="PALETTE COLOR")])


# Compressed pixels


def test_twelve_bit_jpeg_is_read(file: Path):
    import imagecodecs

    smooth = np.add.outer(np.arange(5), np.arange(6)).astype(np.uint16) * 300
    frame = imagecodecs.jpeg8_encode(smooth, level=100, bitspersample=12)
    extended = "1.2.840.10008.1.2.4.51"
    compressed(file, extended, frame, BitsStored=12, HighBit=11, RescaleIntercept=0)
    np.testing.assert_allclose(read_series([file]).voxels[..., 0], smooth.T, atol=4)


def lossless(path: Path, pixels: np.ndarray) -> Path:
    import imagecodecs

    frame = imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=16)
    return compressed(path, "1.2.840.10008.1.2.4.70", frame)


def test_a_jpeg_of_another_size_than_the_header_says_is_refused(file: Path):
    lossless(file, np.zeros((50, 60), np.uint16))
    with pytest.raises(BrokenInputError, match=r"\(50, 60, 1\) rows.* expected \(5, 6, 1\)"):
        read_series([file])


def test_without_a_decoder_the_message_names_what_to_install(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    lossless(file, np.zeros((5, 6), np.uint16))
    decoder = pydicom.pixels.get_decoder("1.2.840.10008.1.2.4.70")
    jpeg_frames.register()
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(
        BrokenInputError,
        match=r"compressed as JPEG Lossless.*: pip install 'syncsam-lightning\[dicom\]'",
    ):
        read_series([file])


@pytest.mark.parametrize(
    ("syntax", "remedy"),
    [
        ("1.2.840.10008.1.2.4.201", "pip install pylibjpeg pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.102", r"save it uncompressed"),  # MPEG-4
    ],
)
def test_what_nothing_decodes_is_told_with_its_name(file: Path, syntax: str, remedy: str):
    compressed(file, syntax, b"\0" * 100)
    name = pydicom.uid.UID(syntax).name.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(BrokenInputError, match=rf"compressed as {name}, .*{remedy}"):
        read_series([file])


@pytest.mark.parametrize("name", ["RLELossless", "JPEGLSLossless", "JPEGLosslessSV1"])
def test_compressed_pixels_that_are_cut_off_are_told(file: Path, name: str):
    if name == "JPEGLosslessSV1":
        lossless(file, np.arange(30, dtype=np.uint16).reshape(5, 6) * 7)
    else:
        image = pydicom.dcmread(file)
        image.compress(getattr(pydicom.uid, name))
        image.save_as(file)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(BrokenInputError, match=r"000: ") as told:
        read_series([file])
    assert "concatenate" not in told.value.reason


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80"])
def test_compressed_pixels_that_are_damaged_are_told_without_a_traceback(
    file: Path, syntax: str, caplog: pytest.LogCaptureFixture
):
    compressed(file, syntax, b"\xff\xd8\xff\xc3" + b"\x13" * 60)
    with pytest.raises(BrokenInputError, match="000: its pixels cannot be decoded"):
        read_series([file])
    assert caplog.text == ""
