"""Every public name is documented, and every module says what it owns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path for folder in ("src", "datamodules", "configs") for path in (ROOT / folder).rglob("*.py")
)
Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(source: str) -> list[str]:
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["module"]
    return missing + [name for name, node in public(tree) if not ast.get_docstring(node)]


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Documented) and not child.name.startswith("_"):
            if not any(map(is_documented_elsewhere, child.decorator_list)):
                yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def is_documented_elsewhere(decorator: ast.expr) -> bool:
    name = ast.unparse(decorator).removeprefix("typing.")
    return name in ("overload", "override") or name.endswith(".setter")


def is_empty(path: Path) -> bool:
    return path.name == "__init__.py" and not path.read_text().strip()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_has_a_docstring(path: Path):
    assert is_empty(path) is False, "an empty __init__.py says nothing about its package"
    assert undocumented(path.read_text()) == []


def test_a_missing_docstring_is_found():
    source = '"""Module."""\nclass A:\n    """A."""\n    def f(self): ...\ndef _g(): ...\n'
    assert undocumented(source) == ["A.f"]


def test_a_missing_module_docstring_is_found():
    assert undocumented("x = 1\n") == ["module"]
