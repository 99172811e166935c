from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from syncsam_lightning.data.conversion.units import Unit, cut_units
from syncsam_lightning.data.conversion.workbench import Outcome, Workbench, WorkOptions
from syncsam_lightning.records import Skipped

QUIET = WorkOptions(progress=False)


class Work:
    """Adds up numbers and remembers on which units it worked; skips zeros."""

    def __init__(self) -> None:
        self.units: list[int] = []

    def __call__(self, unit: Unit) -> Outcome:
        self.units.append(unit.number)
        skipped = [
            Skipped(f"zero-{unit.number}", "is zero", "zero", "s") for n in unit.items() if not n
        ]
        return Outcome({"sum": sum(unit.items())}, skipped)


def run(bench: Workbench, numbers: Iterable[int], work: Work) -> list[int]:
    bench.run("sums", cut_units(numbers, lambda number: (number,), 2), work)
    return [state.result["sum"] for state in bench.states("sums")]


def test_finished_units_are_not_worked_on_again(tmp_path: Path):
    first, second = Work(), Work()
    assert run(Workbench(tmp_path, {"a": 1}, QUIET), [1, 2, 0, 4, 5], first) == [3, 4, 5]
    bench = Workbench(tmp_path, {"a": 1}, QUIET)
    assert run(bench, [1, 2, 0, 4, 5], second) == [3, 4, 5]
    assert (first.units, second.units) == ([0, 1, 2], [])
    assert list(bench.skipped()) == [Skipped("zero-1", "is zero", "zero", "s")]


def test_a_unit_whose_items_changed_is_worked_on_again(tmp_path: Path):
    run(Workbench(tmp_path, {}, QUIET), [1, 2, 3, 4, 5, 6], Work())
    work = Work()
    assert run(Workbench(tmp_path, {}, QUIET), [1, 2, 3, 40], work) == [3, 43]
    assert work.units == [1]


def test_an_interrupted_stage_goes_on_where_it_was(tmp_path: Path):
    class StopError(Exception):
        pass

    def stop(moment: str) -> None:
        if moment == "sums:1":
            raise StopError

    with pytest.raises(StopError):
        run(Workbench(tmp_path, {}, WorkOptions(progress=False, at=stop)), range(1, 9), Work())
    work = Work()
    assert run(Workbench(tmp_path, {}, QUIET), range(1, 9), work) == [3, 7, 11, 15]
    assert work.units == [2, 3]


def test_work_with_other_settings_is_neither_used_nor_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run(Workbench(tmp_path, {"size": 1}, QUIET), [1], Work())
    other = Work()
    run(Workbench(tmp_path, {"size": 2}, QUIET), [1], other)
    assert other.units == [0]
    assert "holds unfinished work with other settings" in caplog.text
    again = Work()
    run(Workbench(tmp_path, {"size": 1}, QUIET), [1], again)
    assert again.units == []


def test_a_state_file_that_was_never_finished_does_not_count(tmp_path: Path):
    bench = Workbench(tmp_path, {}, QUIET)
    (bench.stage_folder("sums") / ".000000.json.77").write_text('{"dig')
    work = Work()
    assert run(bench, [1, 2], work) == [3]
    assert work.units == [0]


@pytest.mark.parametrize(
    ("total", "size"), [(None, 256), (100, 256), (64_000, 1000), (4_000_000, 4096)]
)
def test_units_grow_with_the_release_within_limits(tmp_path: Path, total: int | None, size: int):
    assert Workbench(tmp_path, {}, QUIET).unit_size(total) == size


@pytest.mark.parametrize("option", ["workers", "unit_size"])
def test_options_below_one_are_refused(option: str):
    with pytest.raises(ValueError, match=f"{option} must be at least 1, got 0"):
        WorkOptions(**{option: 0})
