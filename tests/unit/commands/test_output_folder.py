from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncsam_lightning.commands.output_folder import OutputFolderError, check_output_folder


def test_a_folder_that_is_there_or_can_be_made_is_accepted_and_not_made(tmp_path: Path):
    check_output_folder(tmp_path, "--output")
    check_output_folder(tmp_path / "a/b", "--output")
    check_output_folder(Path("nowhere/yet"), "--output")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OutputFolderError, match=r"OUTPUT .*closed may not be written to"):
        check_output_folder(tmp_path / "closed/out", "OUTPUT")
