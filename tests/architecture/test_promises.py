"""The table of promises says how the tests that try to break them ended."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = ROOT / "tests" / "conftest.py"
pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.promise("held | always")
def test_good(): pass

@pytest.mark.promise("broken")
@pytest.mark.parametrize("n", [1, 2])
def test_bad(n): assert n == 1

@pytest.mark.promise("not tried")
def test_skipped(): pytest.skip("no GPU")

@pytest.mark.promise("undone")
def test_teardown(request): request.addfinalizer(lambda: 1 / 0)

def test_that_promises_nothing(): pass
"""


@pytest.mark.parametrize("processes", [[], ["-n", "1"]])
def test_each_promise_stands_with_its_tests_and_their_outcome(
    pytester: pytest.Pytester, processes: list[str]
):
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nmarkers = promise(text): x")
    pytester.makepyfile(test_it=TESTS)
    pytester.runpytest_inprocess("--promises", "out", *processes)
    found = json.loads((pytester.path / "out" / "promises.json").read_text())
    assert found == {
        "broken": {"test_it.py::test_bad[1]": "passed", "test_it.py::test_bad[2]": "failed"},
        "held | always": {"test_it.py::test_good": "passed"},
        "not tried": {"test_it.py::test_skipped": "skipped"},
        "undone": {"test_it.py::test_teardown": "failed"},
    }
    lines = (pytester.path / "out" / "promises.md").read_text().splitlines()
    assert "| held \\| always | **passed** | test_it.py::test_good: passed |" in lines
    assert sum("**failed**" in line for line in lines) == 2


def tried(path: Path) -> set[str]:
    """Return the promises that a file names: the texts that begin with a heading of the page."""
    texts = (
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {text for text in texts if PROMISE.fullmatch(text)}


HEADINGS = ("Ranks", "Resume", "Numbers", "Input", "Limits", "Supply")
PROMISE = re.compile(rf"(?:{'|'.join(HEADINGS)}): [^\n]+")


def test_the_page_lists_every_promise_that_a_test_tries_to_break():
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    marked = set().union(*map(tried, tests))
    listed: dict[str, list[str]] = defaultdict(list)
    heading = ""
    for line in (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines():
        heading = line[3:] if line.startswith("## ") else heading
        if heading in HEADINGS and line.startswith("- "):
            listed[heading].append(line[2:])
    assert tuple(listed) == HEADINGS
    told = [f"{heading}: {text}" for heading, texts in listed.items() for text in texts]
    assert sorted(told) == sorted(marked)
