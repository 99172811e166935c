"""Colour DICOM and films: as pydicom and SimpleITK read them, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import JPEGBaseline8Bit

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import Window
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation import check_segmentation
from tests.dicom_files import save_colours

RNG = np.random.default_rng(0)
# Smooth, so that what JPEG and shared colours change is little.
RAMP = np.stack(np.meshgrid(np.arange(0, 240, 15), np.arange(0, 240, 30)), -1).astype(np.uint8)
RGB = np.concatenate([RAMP, 255 - RAMP[..., :1]], -1)  # (8, 16, 3)


def seen(path: Path) -> np.ndarray:
    """Return ``([T,] H, W, 3)`` of a file, as slices show it."""
    volume = read_volume(path)
    assert volume.voxels.dtype == np.uint8
    return np.moveaxis(volume.voxels, (0, 1, 2), (2, 1, 0)).squeeze(0)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_is_read_as_it_is(tmp_path: Path, planar: int):
    stored = RGB if planar == 0 else np.moveaxis(RGB, -1, 0)
    path = save_colours(
        tmp_path / "c.dcm", RGB, PlanarConfiguration=planar, PixelData=stored.tobytes()
    )
    np.testing.assert_array_equal(seen(path), RGB)
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_array_equal(seen(path), other.squeeze())


def test_luminance_and_colour_differences_become_rgb(tmp_path: Path):
    path = save_colours(tmp_path / "c.dcm", convert_color_space(RGB, "RGB", "YBR_FULL"), "YBR_FULL")
    assert np.abs(seen(path).astype(int) - RGB).max() <= 2
    stored = pydicom.dcmread(path)
    stored.pixel_array_options(raw=True)
    expected = convert_color_space(stored.pixel_array, "YBR_FULL", "RGB")
    np.testing.assert_array_equal(seen(path), expected)


def test_colour_differences_of_two_pixels_are_shared(tmp_path: Path):
    ybr = convert_color_space(RGB, "RGB", "YBR_FULL")
    pairs = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], -1)
    path = save_colours(tmp_path / "c.dcm", RGB, "YBR_FULL_422", PixelData=pairs.tobytes())
    expected = np.repeat(ybr[:, ::2], 2, axis=1)
    expected[..., 0] = ybr[..., 0]
    np.testing.assert_array_equal(seen(path), convert_color_space(expected, "YBR_FULL", "RGB"))


def test_jpeg_in_colour_is_what_viewers_of_jpeg_show(tmp_path: Path):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", quality=95)
    path = save_colours(tmp_path / "c.dcm", RGB, "YBR_FULL_422")
    image = pydicom.dcmread(path)
    image.PixelData = encapsulate([file.getvalue()])
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.save_as(path)
    shown = np.asarray(Image.open(file)).astype(int)
    assert np.abs(seen(path) - shown).max() <= 3
    assert np.abs(seen(path).astype(int) - RGB).max() <= 24


def palette(path: Path, entries: np.ndarray, bits: int) -> Path:
    tags = {
        f"{name}PaletteColorLookupTable{part}": value
        for channel, name in enumerate(("Red", "Green", "Blue"))
        for part, value in (
            ("Descriptor", [256, 0, bits]),
            ("Data", (entries[:, channel].astype("<u2") * (257 if bits == 16 else 1)).tobytes()
             if bits == 16 else entries[:, channel].tobytes()),
        )
    }  # fmt: skip
    return save_colours(
        path, np.arange(128, dtype=np.uint8).reshape(8, 16), "PALETTE COLOR", **tags
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_of_colours_shows_them(tmp_path: Path, bits: int):
    entries = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
    path = palette(tmp_path / "c.dcm", entries, bits)
    np.testing.assert_array_equal(seen(path), entries[:128].reshape(8, 16, 3))


def test_colours_are_not_windowed(tmp_path: Path):
    volume = read_volume(save_colours(tmp_path / "c.dcm", RGB))
    window = Window(low=100, high=120).fitted(volume.voxels)
    np.testing.assert_array_equal(window.grey(RGB), RGB)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"BitsAllocated": 16}, "is a colour image of 16 bits, and colours are read of 8 bits"),
        ({"SamplesPerPixel": 4}, "is a colour image of 4 samples (RGB), expected 3 of RGB"),
        ({"PhotometricInterpretation": "HSV"}, "is a colour image of 3 samples (HSV), expected 3"),
        ({"PixelData": RGB.tobytes()[:-30]}, "its pixels cannot be decoded"),
    ],
)
def test_what_is_no_colour_of_8_bits_is_refused(tmp_path: Path, tags: dict, reason: str):
    path = save_colours(tmp_path / "c.dcm", RGB, **tags)
    with pytest.raises(BrokenInputError) as error:
        read_volume(path)
    assert reason in error.value.reason


def test_a_colour_image_that_does_not_say_how_it_is_stored_is_told(tmp_path: Path):
    path = save_colours(tmp_path / "c.dcm", RGB)
    image = pydicom.dcmread(path)
    del image.file_meta.TransferSyntaxUID
    image.save_as(path, enforce_file_format=False)
    with pytest.raises(BrokenInputError, match="its pixels cannot be decoded"):
        read_volume(path)


# Films


@pytest.mark.parametrize("kind", ["RGB", "MONOCHROME2"])
def test_the_frames_of_a_film_are_slices_in_their_order(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    frames = np.stack([RGB, RGB[::-1], RGB[:, ::-1], RGB // 2, RGB // 3])
    frames = frames if kind == "RGB" else frames[..., 0]
    volume = read_volume(save_colours(tmp_path / "film.dcm", frames, kind))
    np.testing.assert_array_equal(np.moveaxis(volume.voxels, (0, 1, 2), (2, 1, 0)), frames)
    assert (volume.shape, volume.has_spacing) == ((16, 8, 5), False)
    assert "its 5 frames do not say where in the patient each lies, and are taken" in caplog.text
    other = SimpleITK.ReadImage(str(tmp_path / "film.dcm"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(other), frames)
    assert (other.GetSpacing(), other.GetOrigin()) == ((1, 1, 1), (0, 0, 0))
    np.testing.assert_array_equal(volume.affine, np.diag([-1, -1, 1, 1]))


def test_a_film_has_no_dicom_seg(tmp_path: Path):
    volume = read_volume(save_colours(tmp_path / "film.dcm", np.stack([RGB, RGB])))
    with pytest.raises(BrokenInputError, match="is a film, whose frames lie nowhere"):
        check_segmentation(volume)


def test_a_colour_image_has_a_dicom_seg(tmp_path: Path):
    check_segmentation(read_volume(save_colours(tmp_path / "c.dcm", RGB)))


def test_colours_and_grey_in_one_series_are_refused(tmp_path: Path):
    place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    save_colours(tmp_path / "a.dcm", RGB, ImagePositionPatient=[0, 0, 0], **place)
    grey = {"ImagePositionPatient": [0, 0, 2], **place}
    save_colours(tmp_path / "b.dcm", RGB[..., 0], "MONOCHROME2", **grey)
    with pytest.raises(BrokenInputError, match=r"b\.dcm: is grey, and a\.dcm of the same series"):
        read_volume(tmp_path)
