"""Errors that users catch: one class for each thing that can go wrong."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src" / "syncsam_lightning"


def test_no_two_errors_have_one_name():
    names = [
        node.name
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    ]
    assert "MissingPackageError" in names
    assert [name for name, count in Counter(names).items() if count > 1] == []
