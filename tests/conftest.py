"""Processes share the cores; a table of the promises that a run has put to the proof."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

_PROPERTY = "promise"
_OPTION = "--promises"
# What a promise's outcome is where its tests ended differently: the first of these that occurs.
_WORST_FIRST = ("failed", "skipped", "passed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        _OPTION,
        metavar="FOLDER",
        help="write promises.md and promises.json there: every promise whose tests ran, with the "
        "outcome of each",
    )


def pytest_configure(config: pytest.Config) -> None:
    workers = getattr(config, "workerinput", {}).get("workercount")
    if workers:
        # Before torch is imported, and for the commands that tests start: more threads than cores
        # wait for each other.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    if config.getoption(_OPTION) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(PromiseTable(config), "promise-table")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("promise"):
            # Properties travel with the reports, also from the processes of pytest-xdist.
            item.user_properties.append((_PROPERTY, str(marker.args[0])))


class PromiseTable:
    """Collects the outcomes of the tests that name a promise."""

    def __init__(self, config: pytest.Config) -> None:
        self.folder = Path(config.getoption(_OPTION))
        self.outcomes: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Tests that were set up and taken down well are judged by their call.
        if report.when != "call" and report.outcome == "passed":
            return
        for name, promise in report.user_properties:
            if name == _PROPERTY:
                tests = self.outcomes.setdefault(str(promise), {})
                tests[report.nodeid] = worst([report.outcome, *_known(tests, report.nodeid)])

    def pytest_sessionfinish(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        outcomes = {promise: dict(sorted(t.items())) for promise, t in self.outcomes.items()}
        outcomes = dict(sorted(outcomes.items()))
        text = json.dumps(outcomes, indent=2, ensure_ascii=False) + "\n"
        (self.folder / "promises.json").write_text(text, encoding="utf-8")
        (self.folder / "promises.md").write_text(markdown(outcomes), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"{len(self.outcomes)} promises: {self.folder}/promises.md")


def _known(tests: Mapping[str, str], test: str) -> list[str]:
    return [tests[test]] if test in tests else []


def worst(outcomes: Sequence[str]) -> str:
    """Return the outcome that decides."""
    return min(outcomes, key=_WORST_FIRST.index)


def markdown(outcomes: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table: promise, outcome, tests.

    Args:
        outcomes: promise -> test -> outcome.
    """
    lines = ["# Promises", "", "| promise | outcome | tests |", "| --- | --- | --- |"]
    for promise, tests in outcomes.items():
        told = "<br>".join(f"{_cell(test)}: {outcome}" for test, outcome in tests.items())
        lines.append(f"| {_cell(promise)} | **{worst(list(tests.values()))}** | {told} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
