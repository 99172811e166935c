"""Where an unfinished conversion keeps what it has done, stage by stage and unit by unit."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from syncsam_lightning.data.conversion.pool import run_in_processes
from syncsam_lightning.data.conversion.progress import Progress
from syncsam_lightning.data.conversion.units import Unit
from syncsam_lightning.data.conversion.unreadable import UnreadableFiles
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.errors import LOST
from syncsam_lightning.records import Skipped
from syncsam_lightning.whole_files import whole_file

log = logging.getLogger(__name__)

Moment: TypeAlias = Callable[[str], None]
"""Called with the name of each point that a conversion passes."""

MAX_DOWNLOAD = 1_000_000_000
"""Bytes that a conversion reads from web servers without asking."""

_PLAN = "plan.json"
_STATE = "*.json"
_SMALLEST_UNIT, _LARGEST_UNIT, _UNITS = 256, 4096, 64


def _ignore(moment: str) -> None:
    pass


def _no(question: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How to work, as opposed to what to make: none of it shows in the table.

    Args:
        workers: processes; 1 works in the calling one.
        unit_size: images in a unit of work; None: by their number.
        max_unreadable: share of a stage's items that may be files which can't be read or are not
            there before the conversion stops; ten files are never too many.
        progress: tell on the standard error stream how far it has come.
        max_download: bytes to read from web servers without asking.
        ask: called with a question before more is read; returns whether to.
        at: called at each point passed, such as ``"rows:3"`` or ``"committed"``. For tests that
            interrupt a conversion there.
    """

    workers: int = 1
    unit_size: int | None = None
    max_unreadable: float = 0.01
    progress: bool = True
    max_download: int = MAX_DOWNLOAD
    ask: Callable[[str], bool] = _no
    at: Moment = _ignore

    def __post_init__(self) -> None:
        for name, value in (("workers", self.workers), ("unit_size", self.unit_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.max_unreadable <= 1:
            raise ValueError(f"max_unreadable is a share from 0 to 1, got {self.max_unreadable}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit.

    Args:
        result: goes into the unit's state file as JSON.
        skipped: what the work found that could not be used.
        listed: what was skipped before the work, and is an item of the unit: the work of another
            day would find no more.
    """

    result: Mapping[str, Any]
    skipped: list[Skipped] = field(default_factory=list)
    listed: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UnitState:
    """A finished unit, as its state file tells it; see :class:`Outcome`."""

    digest: str
    result: Mapping[str, Any]
    skipped: tuple[Skipped, ...]
    listed: tuple[Skipped, ...]


class Workbench:
    """The folder of an unfinished conversion.

    A unit counts as done when its state file is there and tells the digest of its items; it is
    written last, whole and at once. So a conversion that was killed goes on from where it was.
    Units in which files could not be read or were not there are done again: those may have been
    mended since.

    Every plan has a folder of its own: work with other settings is neither mixed in nor lost.

    Args:
        parent: where the folder is made.
        plan: all that shapes the result; kept in the folder, for who finds it.
        options: how to work.
        chosen: which images and masks of the release the table is made of.
    """

    def __init__(
        self,
        parent: Path,
        plan: Mapping[str, Any],
        options: WorkOptions,
        chosen: RowFilter | None = None,
    ) -> None:
        text = json.dumps(dict(plan), sort_keys=True, indent=2).encode()
        self.folder = parent / hashlib.blake2b(text, digest_size=8).hexdigest()
        self.options = options
        self.chosen = chosen or RowFilter()
        self._counts: dict[str, int] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / _PLAN) as file:
            file.write(text)
        if self.holds_work():
            log.info("going on with the unfinished work in %s", self.folder)
        elif others := [path.parents[1] for path in parent.glob(f"*/*/{_STATE}")]:
            nearest = min((_differing(plan, other) for other in others), key=lambda keys: len(keys))
            log.warning(
                "%s holds unfinished work with other settings (%s); starting anew",
                parent, ", ".join(nearest),
            )  # fmt: skip

    def holds_work(self) -> bool:
        """Tell whether any unit is finished."""
        return next(self.folder.glob(f"*/{_STATE}"), None) is not None

    def unit_size(self, total: int | None) -> int:
        """Return how many of ``total`` images make a unit: large ones for large releases."""
        if self.options.unit_size is not None:
            return self.options.unit_size
        return min(_LARGEST_UNIT, max(_SMALLEST_UNIT, (total or 0) // _UNITS))

    def stage_folder(self, stage: str) -> Path:
        """Return the folder for the files of a stage, which is there."""
        folder = self.folder / stage
        folder.mkdir(exist_ok=True)
        return folder

    def run(
        self,
        stage: str,
        units: Iterable[Unit],
        work: Callable[[Unit], Outcome],
        *,
        total: int | None = None,
        items: str = "images",
        workers: int | None = None,
    ) -> None:
        """Do the work on every unit of a stage that is not done yet.

        Args:
            stage: its name.
            units: all of them, in order.
            work: picklable; called in a worker process, where there are several.
            total: number of items, for the progress.
            items: what they are, for the progress.
            workers: at most so many processes.

        Raises:
            ConversionError: a worker process died, or more files than ``max_unreadable`` allows
                could not be read.
        """
        folder = self.stage_folder(stage)
        self._counts[stage] = 0
        unreadable = UnreadableFiles(self.options.max_unreadable, total, items)
        progress = Progress(stage, total, items, shown=self.options.progress)

        def missing() -> Iterator[Unit]:
            for unit in units:
                self._counts[stage] = unit.number + 1
                state = _finished(_state_path(folder, unit.number), unit.digest)
                if state is None:
                    yield unit
                else:
                    progress.found(unit.size)
                    unreadable.add(unit.size, state.listed)

        processes = min(self.options.workers, workers or self.options.workers)
        task = _Task(work, folder)
        with progress:
            for unit, skipped in run_in_processes(task, missing(), processes):
                progress.add(unit.size)
                self.options.at(f"{stage}:{unit.number}")
                unreadable.add(unit.size, skipped)
        unreadable.close()

    def states(self, stage: str) -> Iterator[UnitState]:
        """Yield the finished units of a stage that was run, in order, one at a time in memory."""
        folder = self.stage_folder(stage)
        for number in range(self._counts[stage]):
            yield _read_state(_state_path(folder, number))

    def forget(self, stage: str, is_lost: Callable[[UnitState], bool]) -> int:
        """Let finished units of a stage count as not done.

        Args:
            stage: its name.
            is_lost: tells which, by what became of them.

        Returns:
            how many.
        """
        paths = list(self.stage_folder(stage).glob(_STATE))
        lost = [path for path in paths if is_lost(_read_state(path))]
        for path in lost:
            path.unlink()
        return len(lost)

    def skipped(self) -> Iterator[Skipped]:
        """Yield what could not be used, by stages and units in their order."""
        for stage in self._counts:
            for state in self.states(stage):
                yield from (*state.listed, *state.skipped)


@dataclass(frozen=True, slots=True)
class _Task:
    """Works on a unit, writes down that it is done, and returns what could not be used."""

    work: Callable[[Unit], Outcome]
    folder: Path

    def __call__(self, unit: Unit) -> list[Skipped]:
        outcome = self.work(unit)
        state = {
            "digest": unit.digest,
            "result": dict(outcome.result),
            "skipped": [_fields(skip) for skip in outcome.skipped],
            "listed": [_fields(skip) for skip in outcome.listed],
        }
        with whole_file(_state_path(self.folder, unit.number)) as file:
            file.write(json.dumps(state).encode())
        return [*outcome.listed, *outcome.skipped]


def _fields(skip: Skipped) -> list[str]:
    return [skip.path, skip.reason, skip.kind, skip.source]


def _differing(plan: Mapping[str, Any], other: Path) -> list[str]:
    """Return what a plan and that of a folder don't have in common."""
    try:
        theirs = json.loads((other / _PLAN).read_bytes())
    except (OSError, ValueError):
        return ["its plan can't be read"]
    ours = json.loads(json.dumps(dict(plan)))
    return sorted(key for key in ours | theirs if ours.get(key) != theirs.get(key))


def _state_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _read_state(path: Path) -> UnitState:
    state = json.loads(path.read_bytes())
    skipped, listed = (
        tuple(Skipped(*fields) for fields in state[key]) for key in ("skipped", "listed")
    )
    return UnitState(state["digest"], state["result"], skipped, listed)


def _finished(path: Path, digest: str) -> UnitState | None:
    """Return what became of a unit, None if it has to be worked on."""
    if not path.exists():
        return None
    state = _read_state(path)
    is_done = state.digest == digest and all(skip.kind not in LOST for skip in state.skipped)
    return state if is_done else None
