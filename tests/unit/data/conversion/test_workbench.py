from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from syncsam_lightning.data.conversion.units import Unit, cut_units
from syncsam_lightning.data.conversion.workbench import Outcome, Workbench, WorkOptions
from syncsam_lightning.errors import LOST, NAMED_BUT_MISSING, UNREADABLE, ConversionError
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
    assert "holds unfinished work with other settings (size); starting anew" in caplog.text
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


class Reader:
    """Reads numbers that are files; those in ``lost`` can't be read."""

    def __init__(self, lost: Iterable[int]) -> None:
        self.lost, self.units = set(lost), []

    def __call__(self, unit: Unit) -> Outcome:
        self.units.append(unit.number)
        items = list(unit.items())
        skipped = [Skipped(f"{n}.png", "is truncated", UNREADABLE) for n in items if n in self.lost]
        return Outcome({"read": len(items) - len(skipped)}, skipped)


def read(folder: Path, lost: Iterable[int], total: int | None = 1000, **options) -> Reader:
    reader = Reader(lost)
    bench = Workbench(folder, {}, WorkOptions(progress=False, **options))
    units = cut_units(range(1000), lambda number: (number,), 100)
    bench.run("files", units, reader, total=total)
    assert sum(state.result["read"] for state in bench.states("files")) == 1000 - len(reader.lost)
    return reader


@pytest.mark.parametrize("total", [1000, None])
def test_too_many_unreadable_files_stop_a_stage(tmp_path: Path, total: int | None):
    with pytest.raises(ConversionError, match=r"51 files .* 0\.05 allows for 1,000 images.*0\.png"):
        read(tmp_path, range(0, 510, 10), total, max_unreadable=0.05)


def test_a_hopeless_stage_stops_before_its_end(tmp_path: Path):
    reader = Reader(range(1000))
    bench = Workbench(tmp_path, {}, WorkOptions(progress=False))
    units = cut_units(range(1000), lambda number: (number,), 100)
    with pytest.raises(ConversionError, match="100 files could not be read"):
        bench.run("files", units, reader, total=1000)
    assert reader.units == [0]


def test_few_unreadable_files_are_let_pass(tmp_path: Path):
    read(tmp_path / "few", range(10), max_unreadable=0)
    read(tmp_path / "share", range(50), max_unreadable=0.05)


@pytest.mark.parametrize("kind", sorted(LOST))
def test_every_kind_of_lost_file_counts_and_is_tried_again(tmp_path: Path, kind: str):
    def lose(unit: Unit) -> Outcome:
        return Outcome({}, [Skipped(str(n), "is lost", kind) for n in unit.items()])

    bench = Workbench(tmp_path, {}, QUIET)
    with pytest.raises(ConversionError, match="11 files could not be read or are not there"):
        bench.run("files", cut_units(range(11), lambda number: (number,), 11), lose, total=11)
    work = Work()
    bench.run("files", cut_units(range(11), lambda number: (number,), 11), work, total=11)
    assert work.units == [0]


def test_what_was_listed_as_missing_counts_in_every_run_and_costs_no_second_work(tmp_path: Path):
    seen = []

    def pass_on(unit: Unit) -> Outcome:
        seen.append(unit.number)
        return Outcome({}, listed=list(unit.items()))

    missing = [Skipped(f"{n}.png", "is not there", NAMED_BUT_MISSING) for n in range(12)]
    for _ in range(2):
        bench = Workbench(tmp_path, {}, QUIET)
        with pytest.raises(ConversionError, match="12 files could not be read or are not there"):
            bench.run("rows", cut_units(missing, lambda skip: (skip.path,), 3), pass_on)
    assert seen == [0, 1, 2, 3]


def test_units_with_unreadable_files_are_tried_again(tmp_path: Path):
    with pytest.raises(ConversionError):
        read(tmp_path, range(250, 280))
    assert read(tmp_path, [310]).units == [2, 3, 4, 5, 6, 7, 8, 9]
    assert read(tmp_path, []).units == [3]
    assert read(tmp_path, []).units == []
