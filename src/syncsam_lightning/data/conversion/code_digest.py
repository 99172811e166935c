"""Which code makes rows, so that other code does not go on with them."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from uuid import uuid4

_INSTALLED = ("site-packages", "dist-packages")
# Python 3.11 raises SystemError where two threads build syntax trees at once.
_PARSING = Lock()
_NOT_THE_PLUGIN = sys.stdlib_module_names | {"lightning", "pytorch_lightning", "torch"}


def code_digest(plugin: type) -> str:
    """Return a digest of the source code that a class makes rows with.

    That is the modules of the class and its bases, and all that these import, however deep, out of
    the packages that the classes are in; of a module in no package, out of the folder that it lies
    in. Other installed packages and data files don't count.

    Args:
        plugin: a datamodule.

    Returns:
        32 hexadecimal digits; other ones in each call for a class without a file, as in a notebook,
        since nobody can tell what its code was.
    """
    modules = {base.__module__ for base in plugin.__mro__} - {"builtins"}
    modules = {name for name in modules if name.partition(".")[0] not in _NOT_THE_PLUGIN}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in modules]
    if not all(files):
        return uuid4().hex
    folders = dict(filter(None, map(_package_of, modules)))
    wanted = [Path(file).resolve() for file in files if file]
    if plain := [name for name in sorted(modules) if _package_of(name) is None]:
        folders[""] = Path(str(sys.modules[plain[0]].__file__)).resolve().parent
    seen: dict[Path, bytes] = {}
    while wanted:
        path = wanted.pop()
        if path in seen:
            continue
        seen[path] = path.read_bytes()
        wanted += _imported(path, seen[path], folders)
    digest = hashlib.blake2b(digest_size=16)
    for content in sorted(seen.values()):
        digest.update(hashlib.blake2b(content).digest())
    return digest.hexdigest()


def _package_of(module: str) -> tuple[str, Path] | None:
    """Return the name and the folder of the package at the top of a module, None if it has none."""
    top = module.partition(".")[0]
    places = list(getattr(sys.modules.get(top), "__path__", ()))
    return (top, Path(places[0]).resolve()) if places else None


def _imported(path: Path, source: bytes, folders: dict[str, Path]) -> Iterator[Path]:
    """Yield the files of the modules that one imports, as far as they lie in some folders.

    Args:
        path: of the module.
        source: of the module.
        folders: of packages by name; under ``""`` the one that modules in no package lie in.
    """
    try:
        with _PARSING:
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a template, or for another version of Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _file(_absolute(alias.name, folders))
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            base = (
                path.parents[node.level - 1].joinpath(*name.split("."))
                if node.level
                else _absolute(name, folders)
            )
            yield from _file(base)
            if base is not None:
                for alias in node.names:
                    yield from _file(base / alias.name)


def _absolute(name: str, folders: dict[str, Path]) -> Path | None:
    top, _, rest = name.partition(".")
    if top in folders:
        return folders[top].joinpath(*rest.split("."))
    if "" in folders and not set(folders[""].parts).intersection(_INSTALLED):
        return folders[""].joinpath(*name.split("."))
    return None


def _file(module: Path | None) -> Iterator[Path]:
    if module is None:
        return
    for path in (module.with_suffix(".py"), module / "__init__.py"):
        if path.is_file():
            yield path
