"""Table 4 in one command: six small releases, a checkpoint, zero_shot.yaml."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from syncsam_lightning.cli.main import main

TINY = Path(__file__).parent / "tiny.yaml"
SIZE = (48, 64)
ORDER = ["HNTSMRG", "CURVAS", "STS", "COSAS24", "KPIs", "EBHI"]


def write_releases(root: Path) -> None:
    """Write one image of each data set, with two objects where components count."""
    mask = np.zeros(SIZE, np.uint8)
    mask[5:20, 6:30] = mask[30:40, 40:60] = 255
    for image, masked in (
        ("STS/image/a.png", "STS/mask/a.png"),
        ("COSAS24/domain1/image/a.png", "COSAS24/domain1/mask/a.png"),
        ("KPIs/test/DN/1/img/a_img.jpg", "KPIs/test/DN/1/mask/a_mask.jpg"),
        ("EBHI/EBHI-SEG/Polyp/image/a.png", "EBHI/EBHI-SEG/Polyp/label/a.png"),
    ):
        for path, pixels in (
            (image, np.random.default_rng(0).integers(0, 256, SIZE)),
            (masked, mask),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / path)
    voxels = np.random.default_rng(0).integers(-500, 500, (*SIZE, 1)).astype(np.int16)
    labels = (mask > 0).astype(np.uint8)[..., None]
    for path, values in {
        "HNTSMRG/HNTSMRG24_train/1/preRT/1_preRT_T2.nii.gz": voxels,
        "HNTSMRG/HNTSMRG24_train/1/preRT/1_preRT_mask.nii.gz": labels,
        "CURVAS/training_set/U1/image.nii.gz": voxels,
        "CURVAS/training_set/U1/annotation_1.nii.gz": labels * 3,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, np.eye(4)), root / path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a run on other data, whose data settings must not be taken over."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "--config", str(TINY)]) == 0
        (path,) = folder.glob("logs/*/*/checkpoints/last.ckpt")
    return path


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_releases(tmp_path / "releases")
    return tmp_path / "releases"


def command(checkpoint: Path, *options: str) -> list[str]:
    where = ["--config", "zero_shot.yaml", "--ckpt_path", str(checkpoint)]
    small = ["--data.num_workers", "0", "--trainer.accelerator", "cpu", "--trainer.logger", "false"]
    return ["test", *where, *small, "--data.root", "releases", *options]


def scores() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in pq.read_table(Path("test/scores.parquet")).to_pylist():
        assert row["protocol"] == "box"
        found.setdefault(row["source"], []).append(row["dice"])
    return found


def test_one_command_measures_all_six_in_the_order_of_the_table(releases: Path, checkpoint: Path):
    assert main(command(checkpoint)) == 0
    found = scores()
    assert list(found) == ORDER
    # All of the primary tumour is one object; elsewhere components are.
    assert {name: len(dices) for name, dices in found.items()} == dict.fromkeys(ORDER, 2) | {
        "HNTSMRG": 1
    }
    report = Path("test/report.md").read_text()
    for name, dices in found.items():
        assert name in report
        assert f"{np.mean(dices):.3f}" in report


def test_what_is_missing_is_named_before_anything_is_converted(
    releases: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(releases / "EBHI")
    shutil.rmtree(releases / "STS")
    assert main(command(checkpoint)) == 2
    error = capsys.readouterr().err
    assert "2 of the 6 parts of the mixture are not there" in error
    assert f"STS: data root {Path('releases/STS')} does not exist" in error
    assert f"EBHI: data root {Path('releases/EBHI')} does not exist" in error
    assert "set data.missing_parts to skip" in error
    assert not Path("tables").exists()


def test_the_ones_that_are_there_can_be_measured_alone(releases: Path, checkpoint: Path):
    shutil.rmtree(releases / "CURVAS")
    assert main(command(checkpoint, "--data.missing_parts", "skip")) == 0
    assert list(scores()) == [name for name in ORDER if name != "CURVAS"]


def test_nothing_is_taken_over_from_the_data_that_the_checkpoint_was_trained_on(
    releases: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(
            ["test", "--config", "zero_shot.yaml", "--ckpt_path", str(checkpoint), "--print_config"]
        )
    data = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert yaml.safe_load(TINY.read_text())["data"]["init_args"]["batch_size"] == 2
    assert (data["batch_size"], data["num_workers"]) == (8, 2)
