from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from syncsam_lightning.cli.main import main
from syncsam_lightning.commands.export import export
from syncsam_lightning.commands.predict import PredictOptionError, predict_files
from syncsam_lightning.models import SyncSAM, frozen_checksum, initialise_frozen
from syncsam_lightning.models.weights.slim_checkpoint import leave_frozen_out
from syncsam_lightning.volumes import Window, parse_window

SMALL = {
    "cnn": "none",
    "image_size": 64,
    "vit_width": 32,
    "vit_depth": 4,
    "vit_heads": 2,
    "window_size": 3,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = SyncSAM(**SMALL)
    initialise_frozen(model, seed=0)
    content = {
        "state_dict": {f"network.{key}": value for key, value in model.state_dict().items()},
        "hyper_parameters": {
            "network": {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": SMALL},
            "sam_checkpoint": "none",
        },
    }
    leave_frozen_out(content, model, prefix="network.", checksum=frozen_checksum(model))
    torch.save(content, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (30, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_folder_is_segmented_by_a_file_of_prompts(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "p.csv").write_text(
        "image,label,x0,y0,x1,y1\n0.png,cell,1,2,20,20\n0.png,disc,5,5,9,9\n"
    )
    predict_files(
        [str(images)],
        ckpt_path=str(checkpoint),
        prompts=str(tmp_path / "p.csv"),
        output=str(tmp_path / "out"),
        device="cpu",
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0--cell.png",
        "0--disc.png",
        "predictions.csv",
        "skipped.jsonl",
    ]
    printed = capsys.readouterr().out
    assert f"skipped {images / '1.png'}: there is no prompt about it" in printed
    assert f"2 objects written to {tmp_path / 'out'}, listed in" in printed


def test_where_nothing_can_be_segmented_the_command_fails(
    images: Path, checkpoint: Path, tmp_path: Path
):
    with pytest.raises(PredictOptionError, match="nothing could be segmented"):
        predict_files(
            [str(images)],
            ckpt_path=str(checkpoint),
            box="0,0,500,500",
            output=str(tmp_path / "out"),
            device="cpu",
        )
    assert len((tmp_path / "out/skipped.jsonl").read_text().splitlines()) == 2


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file grow beyond some bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(0, 255, (30, 40, 2)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "v.nii.gz")
    return tmp_path / "v.nii.gz"


@pytest.mark.promise("Limits: a full disk while predicting gives one sentence, no mask is torn")
@pytest.mark.parametrize(("source", "mask"), [("images", "0--object"), ("volume", "v--object")])
def test_a_full_disk_is_told_and_leaves_no_torn_mask(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path, source: str, mask: str
):
    path, output = request.getfixturevalue(source), tmp_path / "out"
    line = ["predict", str(path), "--ckpt_path", str(checkpoint), "--box", "1,2,20,20"]
    line += ["--output", str(output), "--device", "cpu", "--slice=0"][: 4 + (source == "volume")]
    with limited_files(40):
        errors = told_by(line)
    assert f"{mask}" in errors
    assert "could not be written ([Errno 27] File too large" in errors
    assert "make room, or give another folder as --output" in errors
    assert list(output.iterdir()) == []
    assert main(line) == 0
    assert any(found.name.startswith(mask) for found in output.iterdir())


@pytest.mark.promise("Limits: a folder that can't be written to gives one sentence")
def test_an_output_that_can_not_be_made_is_told(images: Path, checkpoint: Path, tmp_path: Path):
    line = ["predict", str(images), "--ckpt_path", str(checkpoint), "--box", "1,2,20,20"]
    errors = told_by([*line, "--output", "/proc/out", "--device", "cpu"])
    assert "/proc/out" in errors
    assert "give another folder" in errors
    assert "make room" not in errors


def test_a_folder_in_the_place_of_a_mask_is_told(images: Path, checkpoint: Path, tmp_path: Path):
    line = ["predict", str(images / "0.png"), "--ckpt_path", str(checkpoint), "--box", "1,2,20,20"]
    (tmp_path / "out/0--object.png").mkdir(parents=True)
    errors = told_by([*line, "--output", str(tmp_path / "out"), "--device", "cpu"])
    assert "0--object.png could not be written" in errors
    assert "a folder has this name: move it away, or give another folder as --output" in errors


@pytest.mark.parametrize("inside", ["", "out"])
def test_an_output_in_the_place_of_a_file_is_told_before_any_work(
    images: Path, tmp_path: Path, inside: str
):
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / inside
    line = ["predict", str(images), "--ckpt_path", "none.ckpt", "--box", "1,2,20,20"]
    assert told_by([*line, "--output", str(output)]) == (
        f"error: --output {output} can't be used: {tmp_path / 'file'} is a file, not a folder; "
        "give another folder"
    )
    assert (tmp_path / "file").read_text() == "in the way"


def told_by(line: list[str]) -> str:
    """Return the one sentence that a command ends with."""
    with redirect_stderr(io.StringIO()) as stream:
        assert main(line) == 2
    (told,) = [text for text in stream.getvalue().splitlines() if text.startswith("error:")]
    assert "Traceback" not in stream.getvalue()
    return told


@pytest.mark.parametrize("volume_format", ["auto", "nifti"])
@pytest.mark.parametrize("within", ["", "masks"])
def test_an_output_within_the_folder_of_a_series_does_not_become_an_input(
    dicom, checkpoint: Path, volume_format: str, within: str, capsys: pytest.CaptureFixture[str]
):
    folder = dicom(np.random.default_rng(0).integers(-100, 100, (30, 28, 4)))[0].parent
    for label in ("liver", "spleen", "kidney"):  # what lies there in the third run is not listed
        predict_files(
            [str(folder)],
            ckpt_path=str(checkpoint),
            box="2,2,20,20",
            slice=2,
            label=label,
            propagate=False,
            volume_format=volume_format,
            output=str(folder / within),
            device="cpu",
        )
        assert "1 object written" in capsys.readouterr().out
    names = {path.name for path in folder.rglob("series*")}
    if volume_format == "auto":
        assert names == {"series.seg.dcm"}
    else:
        assert names == {f"series--{label}.nii.gz" for label in ("liver", "spleen", "kidney")}


@pytest.mark.parametrize("exports", [0, 1, 2])
def test_volumes_are_segmented_with_the_window_of_training(
    volume: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: int
):
    content = torch.load(checkpoint, weights_only=True)
    content["datamodule_hyper_parameters"] = {"window": "liver"}
    torch.save(content, checkpoint)
    for number in range(exports):  # of a checkpoint, then of the folder that this gave
        target = tmp_path / f"exported{number}"
        export("safetensors", str(checkpoint), str(target))
        checkpoint = target
    shown: list[Window] = []
    grey = Window.grey

    def seen(self: Window, pixels: np.ndarray) -> np.ndarray:
        shown.append(self)
        return grey(self, pixels)

    monkeypatch.setattr(Window, "grey", seen)
    options = {"ckpt_path": str(checkpoint), "box": "1,2,20,20", "slice": 0, "device": "cpu"}
    for name in (None, "bone"):
        predict_files(
            [str(volume)], window=name, propagate=False, output=str(tmp_path / "out"), **options
        )
    assert shown == [parse_window("liver"), parse_window("bone")]
