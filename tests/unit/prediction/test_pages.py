"""What docs/predict.md and docs/volumes.md show works as shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from syncsam_lightning.cli.main import main
from syncsam_lightning.models import MedSAM
from syncsam_lightning.prediction.file_predictor import Found
from syncsam_lightning.prediction.prompt_list import SCHEMA, read_prompts
from syncsam_lightning.volumes import PLANES, PRESETS, RULES
from tests.dicom_files import save_colours
from tests.itk_files import save_itk

DOCS = Path(__file__).parents[3] / "docs"
PREDICT, VOLUMES = (
    (DOCS / name).read_text(encoding="utf-8") for name in ("predict.md", "volumes.md")
)


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [content for name, content in found if name == language]


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "") for line in block.splitlines() if line]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bright_checkpoint: Path, dicom) -> Path:
    """A working folder with the files that the pages speak of."""
    bright_checkpoint.rename(tmp_path / "best.ckpt")
    pixels = np.full((128, 160), 20, np.uint8)
    pixels[40:100, 30:120] = 220
    (tmp_path / "images/sub").mkdir(parents=True)
    for name in ("image.png", "other.png", "images/a.png", "images/sub/b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    grid = np.stack(np.meshgrid(*map(np.arange, (60, 56, 40)), indexing="ij"), axis=-1)
    # As seen in axial slices, x counts from the right and y from anterior: 30, 28 is the centre.
    inside = np.linalg.norm(grid - (30, 28, 20), axis=-1) <= 9
    voxels = np.where(inside, 100, -1000).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels[::-1, ::-1], np.eye(4)), tmp_path / "scan.nii.gz")
    dicom(voxels)
    save_itk(tmp_path / "scan.nrrd", voxels[::-1, ::-1], np.eye(4))
    frames = np.where(inside[..., 16:25], 250, 5).astype(np.uint8).transpose(2, 1, 0)
    save_colours(tmp_path / "film.dcm", np.repeat(frames[..., None], 3, axis=-1))
    (tmp_path / "prompts.csv").write_text(blocks(PREDICT, "csv")[0])
    (tmp_path / "prompts.json").write_text(blocks(PREDICT, "json")[0])
    (tmp_path / "slices.csv").write_text(blocks(VOLUMES, "csv")[0])
    small = MedSAM(image_size=64, vit_width=32, vit_depth=4, vit_heads=2)
    torch.save(small.state_dict(), tmp_path / "medsam_vit_b.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands_to_run():
    assert len(commands(PREDICT)) == 4
    assert len(commands(VOLUMES)) == 6


@pytest.mark.parametrize("line", commands(PREDICT) + commands(VOLUMES))
def test_a_command_of_the_pages_runs(here: Path, line: str, capsys: pytest.CaptureFixture[str]):
    program, *arguments = shlex.split(line)
    assert program == "syncsam"
    assert main([*arguments, "--device", "cpu"]) == 0, capsys.readouterr().err
    folder = here / ("masks" if "--output masks" in line else "predictions")
    with (folder / "predictions.csv").open() as file:
        assert len(file.readlines()) > 1


def test_the_volumes_of_the_commands_are_the_ball(here: Path):
    for line in commands(VOLUMES)[:3]:
        assert main([*shlex.split(line)[1:], "--device", "cpu"]) == 0
    truth = np.asanyarray(nib.load(here / "scan.nii.gz").dataobj) > 0
    found = np.asanyarray(nib.load(here / "masks/scan--liver.nii.gz").dataobj) > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95
    assert (here / "masks/series.seg.dcm").is_file()
    series = np.asanyarray(nib.load(here / "masks/series--object.nii.gz").dataobj) > 0
    assert 2 * (series & truth[::-1, ::-1]).sum() / (series.sum() + truth.sum()) > 0.95


def test_the_ball_is_found_in_nrrd_and_on_one_frame_of_a_film(here: Path):
    for line in commands(VOLUMES)[3:5]:
        assert main([*shlex.split(line)[1:], "--device", "cpu"]) == 0
    truth = nib.load(here / "scan.nii.gz")
    found = nib.load(here / "masks/scan--object.nii.gz")
    np.testing.assert_allclose(found.affine, truth.affine, atol=1e-6)
    inside, drawn = np.asanyarray(truth.dataobj) > 0, np.asanyarray(found.dataobj) > 0
    assert 2 * (drawn & inside).sum() / (drawn.sum() + inside.sum()) > 0.95
    film = np.asanyarray(nib.load(here / "masks/film.dcm--object.nii.gz").dataobj)
    assert film.shape == (60, 56, 9)
    assert np.flatnonzero(film.any(axis=(0, 1))).tolist() == [3]


@pytest.mark.parametrize("page", [PREDICT, VOLUMES], ids=["predict", "volumes"])
def test_the_python_of_the_pages_runs(here: Path, page: str):
    scope: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(block, scope)


def test_both_files_of_prompts_say_the_same(here: Path):
    def plain(name: str) -> list[dict[str, object]]:
        return [
            {"image": p.image, "label": p.label, **p.arguments} for p in read_prompts(here / name)
        ]

    assert plain("prompts.csv") == plain("prompts.json")
    json.loads(blocks(PREDICT, "json")[0])


def test_every_key_window_and_plane_is_explained():
    for key in SCHEMA["items"]["properties"]:
        assert f"`{key}`" in PREDICT
    for name in (*PRESETS, *RULES, *PLANES):
        assert f"`{name}`" in VOLUMES
    assert {"image", "label", "file", "pixels", "score"} <= set(Found.__annotations__)
