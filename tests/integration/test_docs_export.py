"""The commands of docs/export.md, hub.md and fine_tune.md work as shown."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import lightning
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from syncsam_lightning.cli.main import main
from syncsam_lightning.exporting.graphs import DECODER_INPUTS, ENCODER_INPUTS, FEATURES
from syncsam_lightning.models import (
    ScribblePromptUNet,
    SyncSAM,
    frozen_checksum,
    initialise_frozen,
    weights_checksum,
)
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.weights.slim_checkpoint import leave_frozen_out
from syncsam_lightning.prediction import Predictor

DOCS = Path(__file__).parents[2] / "docs"
VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
SMALL = [f"--model.network.{key}={value}" for key, value in {**VIT, "cnn": "resnet18"}.items()]
QUICK = [
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--data.num_workers=0",
]


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text(page), re.DOTALL | re.MULTILINE)
    return [
        shlex.split(line)[1:]
        for language, block in found
        if not language
        for line in block.splitlines()
        if line.strip().startswith("syncsam ")
    ]


def network() -> SyncSAM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SyncSAM(cnn="resnet18", **VIT)
    initialise_frozen(model, seed=0)
    return model


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a checkpoint as `syncsam fit` leaves it."""
    model = network()
    settings = ModelSettings.of(model)
    checkpoint = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": {f"network.{key}": value for key, value in model.state_dict().items()},
        "hyper_parameters": {
            "network": {"class_path": settings.class_path, "init_args": dict(settings.init_args)},
            "sam_checkpoint": "none",
        },
    }
    leave_frozen_out(checkpoint, model, prefix="network.", checksum=frozen_checksum(model))
    torch.save(checkpoint, tmp_path / "best.ckpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page: str, format: str) -> None:
    """Export to a format as the page's one command for it does."""
    (command,) = [words for words in commands(page) if words[:2] == ["export", format]]
    assert main(command) == 0


def code(page: str, imported: str) -> str:
    """The page's one Python example that imports from a module."""
    found = re.findall(r"```python\n(.*?)```", text(page), re.DOTALL)
    (example,) = [block for block in found if f"from {imported} import" in block]
    return example


def write_my_images(folder: Path) -> None:
    """Write images and masks as MaskFolder reads them."""
    for number in range(12):
        pixels, mask = np.full((64, 80), 40, np.uint8), np.zeros((64, 80), np.uint8)
        mask[10 + number : 40, 20:50] = 1
        for kind, picture in (("images", pixels + 90 * mask), ("masks", mask)):
            path = folder / f"my_images/{kind}/p{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)


def test_every_page_has_commands():
    assert [len(commands(page)) for page in ("export.md", "hub.md", "fine_tune.md")] == [5, 4, 5]


def test_every_input_is_explained():
    for name in (*ENCODER_INPUTS, *FEATURES, *DECODER_INPUTS):
        assert f"`{name}`" in text("export.md")


def test_official_names_are_written_as_shown(here: Path, capsys: pytest.CaptureFixture[str]):
    run("export.md", "weights")
    assert "350 of them renamed" in capsys.readouterr().out
    back = ["export", "weights", "official.pth", "own.pth", "--layout", "syncsam"]
    sizes = [f"--options.{key}={value}" for key, value in {**VIT, "cnn": "resnet18"}.items()]
    assert main([*back, "--network", "SyncSAM", *sizes]) == 0
    again = SyncSAM(cnn="resnet18", **VIT)
    again.load_state_dict(torch.load("own.pth", weights_only=True))
    assert weights_checksum(again) == weights_checksum(network())


def test_a_name_in_safetensors_gets_that_format(here: Path):
    safetensors = pytest.importorskip("safetensors.torch")
    assert main(["export", "weights", "best.ckpt", "official.safetensors"]) == 0
    assert main(["export", "weights", "best.ckpt", "official.pth"]) == 0
    found, expected = safetensors.load_file("official.safetensors"), torch.load("official.pth")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.fixture
def mine(here: Path) -> Path:
    """The folder for a hub, written as shown."""
    pytest.importorskip("safetensors")
    results = here / "logs/after/version_0/test"
    results.mkdir(parents=True)
    (results / "summary.csv").write_text(
        "protocol,metric,group,name,masks,mean,ci_low,ci_high\nbox,dice,all,,4,0.5,0.4,0.6\n"
    )
    run("hub.md", "safetensors")
    return here / "mine"


def test_a_folder_for_a_hub_is_written_as_shown(mine: Path):
    scope: dict[str, object] = {}
    exec(code("hub.md", "syncsam_lightning.hub"), scope)
    assert weights_checksum(scope["model"]) == weights_checksum(network())
    assert "| box | all |  | 4 | 0.500 | 0.400 to 0.600 |" in (mine / "README.md").read_text()


def test_a_folder_predicts_as_shown(mine: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("image.png")
    (command,) = [words for words in commands("hub.md") if words[0] == "predict"]
    assert main(command) == 0
    mask = np.asarray(Image.open("predictions/image--object.png"))
    predictor = Predictor(network(), device="cpu")
    predictor.set_image(pixels)
    assert ((mask > 0) == predictor.predict(box=[30, 40, 90, 110]).masks[0]).all()


def test_a_folder_is_tested_as_shown(mine: Path):
    (command,) = [words for words in commands("hub.md") if words[0] == "test"]
    write_my_images(mine.parent)
    assert main([*command, *SMALL, *QUICK]) == 0
    (record,) = (json.loads(path.read_text()) for path in mine.parent.glob("**/test/run.json"))
    assert record["weights_sha256"] == weights_checksum(network())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["torch", "best.ckpt", "x", "--int8", "true"], "--int8 is for `syncsam export onnx`"),
        (["onnx", "best.ckpt", "x", "--push", "me/x"], "--push is for `syncsam export safet"),
        (["torch", "best.ckpt", "x", "--options.a", "1"], "leave --network and --options out"),
        (["torch", "none.ckpt", "x"], "none.ckpt does not exist"),
        (["weights", "best.ckpt", "x.pth", "--layout", "sam2"], "no layout 'sam2'"),
        (["torch", "best.ckpt"], "output missing: syncsam export FORMAT"),
        (
            ["torch", "best.ckpt", "best.ckpt"],
            "OUTPUT best.ckpt can't be used: best.ckpt is a file",
        ),
        (["weights", "best.ckpt", "best.ckpt/x.pth"], "OUTPUT best.ckpt can't be used"),
    ],
)
def test_what_does_not_work_is_told_in_one_line(
    here: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["export", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (here / "x").exists()


@pytest.mark.slow
def test_onnx_and_programs_are_written_as_shown(here: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("onnxruntime")
    unet = ScribblePromptUNet(width=8, depth=3)
    torch.save(unet.state_dict(), "unet.pt")
    write_my_images(here)
    assert main(["prepare", "MaskFolder", "my_images", "my.lance", "--options.image_size=48"]) == 0
    for words in commands("export.md"):
        if words[1] in ("onnx", "torch"):
            assert main(words) == 0, capsys.readouterr().err
    record = json.loads((here / "exported/export.json").read_text())
    assert record["relative_difference"] < 1e-3
    assert set(record["dice"]) == {"PyTorch", "ONNX", "int8"}
    assert abs(record["dice"]["ONNX"] - record["dice"]["PyTorch"]) < 1e-3
    names = {path.name for path in (here / "exported").iterdir()}
    assert {"encoder.onnx", "decoder.onnx", "encoder.pt2", "decoder.pt2", "int8"} <= names
    scope: dict[str, object] = {}
    exec(code("export.md", "syncsam_lightning.exporting"), scope)
    assert scope["model"].input_spec == network().input_spec
    (program,) = re.findall(r"```python\n(import torch\n.*?)```", text("export.md"), re.DOTALL)
    exec(program.replace("S = 256", "S = 64"), scope)
    expected = network().eval().encode(torch.zeros(1, 3, 64, 64), torch.tensor([[64, 32]]))
    torch.testing.assert_close(scope["features"][0], expected.embedding)


@pytest.mark.slow
def test_the_pair_is_used_without_this_package_as_shown(mine: Path):
    pytest.importorskip("onnxruntime")
    run("hub.md", "onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3)).astype(np.uint8)
    pixels = cv2.GaussianBlur(pixels, (0, 0), 5)
    np.save("image.npy", pixels)
    example = code("export.md", "onnx_pair")
    assert "import torch" not in example
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "syncsam_lightning", "onnx", "PIL", "cv2", "scipy"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Absent())
sys.path.insert(0, {str(DOCS)!r})
{example}
np.savez("answers.npz", first=first, better=better, mask=mask)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = np.load("answers.npz")
    predictor = Predictor(network(), device="cpu")
    predictor.set_image(pixels)
    first = predictor.predict(box=[30, 40, 90, 110])
    better = predictor.click([[60, 70]], labels=[0])
    for found, expected in ((answers["first"], first), (answers["better"], better)):
        logits = expected.low_res_logits[0]
        # cv2 rounds a pixel's average by a level up or down where numpy does not.
        assert np.linalg.norm(found - logits) < 1e-2 * np.linalg.norm(logits)
    assert (answers["mask"] == better.masks[0]).mean() > 0.99


@pytest.fixture
def my_images(here: Path) -> None:
    write_my_images(here)


@pytest.mark.usefixtures("my_images")
def test_the_command_for_tables_runs_as_shown(here: Path):
    (command,) = re.findall(r"`(syncsam predict --ckpt_path [^`]+)`", text("predict.md"))
    assert main([*shlex.split(command)[1:], *QUICK]) == 0
    assert len(list(here.rglob("predictions/**/*.png"))) > 0


def test_the_network_of_the_demo_is_given_as_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (shown,) = re.findall(r"```yaml\n(.*?)```", text("fine_tune.md"), re.DOTALL)
    (tmp_path / "network.yaml").write_text(shown)

    def network_of(*configs: str) -> object:
        with pytest.raises(SystemExit) as left:
            main(["fit", *(f"--config={config}" for config in configs), "--print_config"])
        assert left.value.code in (0, None)
        return yaml.safe_load(capsys.readouterr().out)["model"]["network"]

    given = network_of("fine_tune.yaml", str(tmp_path / "network.yaml"))
    assert given == network_of("demo.yaml")


@pytest.mark.slow
@pytest.mark.usefixtures("my_images")
def test_the_guide_to_fine_tuning_runs_as_shown(here: Path):
    options = {"export": [], "compare": [], "fit": [*SMALL, *QUICK]}
    for words in commands("fine_tune.md"):
        known = options["fit"] if "--config" in words else options.get(words[0], QUICK[:1])
        assert main([*words, *known]) == 0
    assert "before" in (here / "compare/comparison.md").read_text()
    for name in ("before", "after"):
        assert (here / f"logs/{name}/version_0/test/report.md").is_file()
