"""The table of promises says how the tests that try to break them ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
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
