from __future__ import annotations

import pytest

from syncsam_lightning.data.conversion import progress
from syncsam_lightning.data.conversion.progress import Progress


def test_a_line_tells_rate_and_time_left_without_what_was_found_done():
    bar = Progress("rows", 1000, "images")
    bar.found(600)
    bar.add(200)
    line = bar.line(seconds=100)
    assert line.startswith("rows:  80%")
    assert "800/1000" in line
    assert "01:40<01:40" in line
    assert "2.00 images/s" in line


def test_away_from_a_terminal_a_line_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = iter([0.0, 30.0, 61.0, 62.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("masks", 40, "masks") as bar:
        for _ in range(4):
            bar.add(10)
    printed = capsys.readouterr().err.splitlines()
    assert [line.split("[")[0] for line in printed] == ["masks:  50% 20/40 ", "masks: 100% 40/40 "]


def test_silence_is_kept_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with Progress("masks", 40, "masks", shown=False) as bar:
        bar.add(40)
    assert capsys.readouterr().err == ""
