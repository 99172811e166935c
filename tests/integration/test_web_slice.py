"""`syncsam prepare` of a slice of a release on a web server, as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lance
import pytest

from tests.split_release import Written, write_release
from tests.web_server import WebServer

# The ends of the archive and a byte of each part: what tells where the directory lies.
ENDS = 5000


def start(cache: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "syncsam_lightning.cli.main", "prepare", "SAMed2D", *args],
        env=os.environ | {"SYNCSAM_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(cache: Path, *args: str) -> str:
    process = start(cache, *args)
    out, errors = process.communicate(timeout=1500)
    assert process.returncode == 0, errors
    return out + errors


def rows(table: Path) -> list[dict]:
    return lance.dataset(str(table)).to_table().to_pylist()


FILTER = ("--data.filter.modality", "fundus_photography", "--options.image_size", "16")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """10,000 images, of which every seventh is asked for, in 16 parts and any order."""
    return write_release(tmp_path_factory.mktemp("r") / "raw", 10_000, part_size=1 << 20, seed=1)


@pytest.fixture(scope="module")
def undisturbed(release: Written, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the same slice, made of the parts on this machine."""
    table = tmp_path_factory.mktemp("t") / "t.lance"
    run(table.parent, str(release.parts[0].parent), str(table), *FILTER)
    return table


def test_a_slice_costs_what_it_takes_and_no_more(
    release: Written, undisturbed: Path, tmp_path: Path
):
    with WebServer(release.parts[0].parents[1]) as server:
        address = f"{server.address}/raw"
        told = run(tmp_path / "cache", address, str(tmp_path / "t.lance"), *FILTER)
        apart = release.directory + release.index + ENDS
        needed = release.needed("Eyes")
        assert needed <= server.sent - release.directory - release.index <= 1.2 * needed + ENDS
        assert "to read for the directory of about 30,002 files" in told
        assert "to read for SAMed2D_v1.json and SAMed2D_v1_class_mapping_id.json" in told
        assert "to read for 4,287 files of 1.47 MB" in told
        server.requests.clear()
        run(tmp_path / "cache", address, str(tmp_path / "again.lance"), *FILTER)
        assert server.sent < 1.2 * needed + ENDS < apart + needed
    assert rows(tmp_path / "t.lance") == rows(tmp_path / "again.lance") == rows(undisturbed)
    names = {"t.lance", "t.skipped.jsonl", "again.lance", "again.skipped.jsonl", "cache"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.promise("Resume: a conversion killed at any moment goes on and ends in the same table")
def test_five_kills_change_nothing_and_what_was_read_is_not_read_again(
    release: Written, undisturbed: Path, tmp_path: Path
):
    needed = release.needed("Eyes")
    before_slice = release.directory + release.index
    moments = [
        release.directory // 2,
        before_slice - release.index // 2,
        before_slice + needed // 4,
        before_slice + needed // 2,
    ]
    table = tmp_path / "t.lance"
    with WebServer(release.parts[0].parents[1], pause=0.001) as server:
        args = (f"{server.address}/raw", str(table), *FILTER)
        for moment in moments:
            process = start(tmp_path / "cache", *args)
            already = server.sent
            while server.sent < max(moment, already + 1):
                assert process.poll() is None, process.communicate()
                time.sleep(0.001)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            assert not table.exists()
        process = start(tmp_path / "cache", *args)
        while not [*tmp_path.glob("t.lance.partial/*/rows/*.json")]:
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not table.exists()
        so_far = server.sent
        run(tmp_path / "cache", *args)
        assert server.sent - so_far < ENDS, "all of it was there"
    assert rows(table) == rows(undisturbed)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache",
        "t.lance",
        "t.skipped.jsonl",
    ]


def test_what_is_too_much_is_told_and_nothing_is_left(release: Written, tmp_path: Path):
    with WebServer(release.parts[0].parents[1]) as server:
        process = start(
            tmp_path / "cache", f"{server.address}/raw", str(tmp_path / "t.lance"), *FILTER,
            "--max_download", "1MB",
        )  # fmt: skip
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    assert "--max_download 4MB" in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


@pytest.mark.slow
def test_a_slice_of_a_million_files(tmp_path: Path):
    release = write_release(tmp_path / "web" / "raw", 334_000, part_size=20_000_000, seed=1)
    chosen = (*FILTER, "--max_download", "10GB")
    with WebServer(tmp_path / "web") as server:
        run(tmp_path / "cache", f"{server.address}/raw", str(tmp_path / "t.lance"), *chosen)
        sent = server.sent
    needed = release.needed("Eyes")
    print(
        f"directory {release.directory:,}, index {release.index:,}, needed {needed:,}, "
        f"read for it {sent - release.directory - release.index:,}"
    )
    assert sent - release.directory - release.index <= 1.2 * needed + ENDS
    run(tmp_path / "cache", str(tmp_path / "web" / "raw"), str(tmp_path / "here.lance"), *chosen)
    assert rows(tmp_path / "t.lance") == rows(tmp_path / "here.lance")
