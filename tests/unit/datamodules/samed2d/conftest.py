from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsam_lightning.data.sources.web_files import WebFolder
from tests.split_release import Written, write_release
from tests.web_server import WebServer

from .slices import IMAGES


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_release(tmp_path_factory.mktemp("r") / "raw", IMAGES, part_size=30_000, seed=1)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(WebFolder, "first_pause", 0.01)


@pytest.fixture
def server(release: Written) -> Iterator[WebServer]:
    with WebServer(release.parts[0].parents[1]) as server:
        yield server
