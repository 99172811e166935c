from __future__ import annotations

import subprocess
import sys

import pytest

from syncsam_lightning import __version__
from syncsam_lightning.cli import main as main_module
from syncsam_lightning.cli.guides import COMMANDS
from syncsam_lightning.cli.main import main
from syncsam_lightning.errors import DatasetNotFoundError

HELP = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
NO_TORCH = """
import sys
from syncsam_lightning.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as leave:
    status = leave.code
assert not status, status
slow = "torch lightning numpy scipy pandas pyarrow lance matplotlib PIL nibabel pydicom onnx"
heavy = set(slow.split()) & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("args", HELP, ids=" ".join)
def test_help_imports_nothing_that_takes_long(args: list[str]):
    result = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *args], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_the_top_help_lists_every_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as leave:
        main(["--help"])
    assert leave.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed and text in printed for name, text in COMMANDS.items())


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"syncsam-lightning {__version__}\n"


def test_an_unknown_command_lists_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as leave:
        main(["train"])
    assert leave.value.code == 2
    printed = capsys.readouterr().err
    assert "invalid choice: 'train'" in printed
    assert all(name in printed for name in COMMANDS)


def test_an_unknown_config_is_told_before_torch_is_imported(capsys: pytest.CaptureFixture[str]):
    code = NO_TORCH.replace("assert not status, status", "assert status == 2, status")
    result = subprocess.run(
        [sys.executable, "-c", code, "fit", "--config", "resnet43"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("error: config 'resnet43' is neither a file")


def fail(args: list[str]) -> int:
    raise DatasetNotFoundError("nothing at /data; give --data.root")


def test_an_error_the_user_can_mend_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("SYNCSAM_DEBUG", raising=False)
    monkeypatch.setattr(main_module, "_dispatch", fail)
    assert main(["fit"]) == 2
    assert capsys.readouterr().err == "error: nothing at /data; give --data.root\n"


@pytest.mark.parametrize(("args", "variable"), [(["fit", "--debug"], ""), (["fit"], "1")])
def test_debugging_adds_the_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    variable: str,
):
    monkeypatch.setenv("SYNCSAM_DEBUG", variable)
    monkeypatch.setattr(main_module, "_dispatch", fail)
    assert main(args) == 2
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.endswith("error: nothing at /data; give --data.root\n")


def test_any_other_error_is_a_bug_and_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def crash(args: list[str]) -> int:
        raise KeyError("bug")

    monkeypatch.setattr(main_module, "_dispatch", crash)
    with pytest.raises(KeyError, match="bug"):
        main(["fit"])


def test_a_place_that_cannot_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(args: list[str]) -> int:
        raise PermissionError(13, "Permission denied", "/proc/x.lance")

    monkeypatch.setattr("syncsam_lightning.cli.main._dispatch", fail)
    assert main(["prepare"]) == 2
    assert capsys.readouterr().err == "error: [Errno 13] Permission denied: '/proc/x.lance'\n"


def test_a_system_error_that_names_no_place_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def fail(args: list[str]) -> int:
        raise OSError("broken")

    monkeypatch.setattr("syncsam_lightning.cli.main._dispatch", fail)
    with pytest.raises(OSError, match="broken"):
        main(["prepare"])
