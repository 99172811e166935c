from __future__ import annotations

import subprocess
import sys

import pytest

from syncsam_lightning.cli.arguments import with_negative_values
from syncsam_lightning.cli.main import main
from syncsam_lightning.cli.predict import is_about_files, predict_parser


@pytest.mark.parametrize(
    "line",
    [
        "scan.png --ckpt_path x.ckpt --box 1,2,3,4",
        "--ckpt_path x.ckpt --box 1,2,3,4 scan.png",
        "--ckpt_path x.ckpt --prompts=p.json scan.png",
        "folder",
        "--output out",
    ],
)
def test_a_path_or_a_prompt_means_files(line: str):
    assert is_about_files(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--ckpt_path best.ckpt",
        "--ckpt_path best.ckpt --data MaskFolder",
        "--help",
        "--config demo",
    ],
)
def test_options_alone_mean_a_table(line: str):
    assert not is_about_files(line.split())


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["predict", *args]) == 2
    return capsys.readouterr().err


def test_without_a_checkpoint_the_error_shows_the_command(capsys):
    assert "--ckpt_path FILE, with --prompts FILE or --box" in run(capsys, "scan.png")


def test_without_a_prompt_the_error_names_the_options(capsys):
    assert "--box x0,y0,x1,y1" in run(capsys, "scan.png", "--ckpt_path", "x.ckpt")


def test_without_a_path_the_error_shows_the_command(capsys):
    assert "syncsam predict PATH..." in run(capsys, "--ckpt_path", "x.ckpt", "--box", "1,2,3,4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1,2,3"], "--box: '1,2,3' is no box"),
        (["--box", "1,2,3,4", "--window", "kidney"], "soft_tissue"),
        (["--box", "1,2,3,4", "--max_area_change", "0.5"], "max_area_change must be above 1"),
        (["--box", "1,2,3,4", "--plane", "oblique"], "plane"),
        (["--box", "1,2,3,4", "--prompts", "p.json"], "leave box, points, slice out"),
        (["--prompts", "p.json"], "p.json cannot be read"),
        (["--box", "1,2,3,4", "--boxx", "1"], "boxx"),
        (["--box", "1,2,3,4"], "scan.png does not exist"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    capsys, tmp_path, monkeypatch, options: list[str], message: str
):
    monkeypatch.chdir(tmp_path)
    error = run(capsys, "scan.png", "--ckpt_path", "x.ckpt", *options)
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("box", "-20,1,30,40"),
        ("points", "-3,4,1; 5,6,0"),
        ("points", "-.5 2 1"),
        ("window", "-100,50"),
        ("slice", "-2"),
    ],
)
def test_a_value_may_begin_with_a_minus(name: str, value: str, joined: bool):
    given = [f"--{name}={value}"] if joined else [f"--{name}", value]
    args = ["scan.png", *given, "--ckpt_path", "x.ckpt"]
    settings = predict_parser().parse_args(with_negative_values(args))
    assert str(settings[name]) == value
    assert settings.paths == ["scan.png"]


def test_an_option_without_a_value_is_still_told(capsys):
    assert "--box: expected one argument" in run(capsys, "scan.png", "--box", "--ckpt_path", "x")


def test_the_help_waits_for_neither_torch_nor_lightning():
    program = (
        "import sys; from syncsam_lightning.cli.predict import predict_parser; "
        "text = predict_parser().format_help(); "
        "assert '--volume_format' in text; "
        "print(sorted({'torch', 'lightning', 'nibabel'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
