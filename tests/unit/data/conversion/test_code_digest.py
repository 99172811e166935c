"""Which changes of code are told from none."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncsam_lightning.data.conversion import WorkOptions, code_digest
from syncsam_lightning.data.datamodule import PromptableDataModule

PLUGIN = """
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.records import DatasetCard
{imports}

class Mine(PromptableDataModule):
    card = DatasetCard("Mine", "Made by a test.")

    def records(self, root):
        {records}
"""
NAMES = ("plugin_of_test", "helpers_of_test", "package_of_test")


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write files, import the class ``Mine`` of a module, and return the digest of its code."""
    monkeypatch.syspath_prepend(tmp_path)

    def digest_of(module: str, **files: str) -> str:
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()
        importlib.invalidate_caches()
        return code_digest(importlib.import_module(module).Mine)

    yield digest_of
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith(NAMES)]:
        del sys.modules[name]


def plugin(imports: str = "", records: str = "yield from ()") -> str:
    return PLUGIN.format(imports=imports, records=records)


def test_the_same_code_has_the_same_digest_and_a_mended_method_another(digest_of):
    first = digest_of("plugin_of_test", plugin_of_test=plugin())
    assert digest_of("plugin_of_test") == first
    assert digest_of("plugin_of_test", plugin_of_test=plugin(records="yield 1")) != first


@pytest.mark.parametrize(
    ("imports", "records"),
    [
        ("from helpers_of_test import THRESHOLD", "yield THRESHOLD"),
        ("import helpers_of_test", "yield helpers_of_test.THRESHOLD"),
        ("", "from helpers_of_test import THRESHOLD; yield THRESHOLD"),
    ],
)
def test_a_module_beside_it_counts_if_it_is_imported(digest_of, imports: str, records: str):
    text = plugin(imports, records)
    first = digest_of("plugin_of_test", plugin_of_test=text, helpers_of_test="THRESHOLD = 1")
    assert digest_of("plugin_of_test", helpers_of_test="THRESHOLD = 2") != first
    other = digest_of("plugin_of_test", helpers_of_test="THRESHOLD = 1", unrelated_to_test="A = 1")
    assert other == first


def test_in_a_package_what_is_imported_counts_however_deep(digest_of):
    files = {
        "package_of_test____init__": "",
        "package_of_test__plugin": plugin("from .masks import draw"),
        "package_of_test__masks": "from package_of_test.inner import rules\ndef draw(): ...",
        "package_of_test__inner____init__": "",
        "package_of_test__inner__rules": "SMALLEST = 1",
        "package_of_test__train": "SEED = 1",
    }
    first = digest_of("package_of_test.plugin", **files)
    mended = {"package_of_test__inner__rules": "SMALLEST = 2"}
    assert digest_of("package_of_test.plugin", **mended) != first
    assert (
        digest_of("package_of_test.plugin", **files | {"package_of_test__train": "SEED = 2"})
        == first
    )


def test_the_readers_of_this_package_count(digest_of, monkeypatch: pytest.MonkeyPatch):
    first = digest_of("plugin_of_test", plugin_of_test=plugin())
    read = Path.read_bytes

    def read_changed(path: Path) -> bytes:
        return read(path) + b"\n# mended" * (path.parts[-2:] == ("data", "readers.py"))

    monkeypatch.setattr(Path, "read_bytes", read_changed)
    assert digest_of("plugin_of_test") != first


MASKS = """
        import numpy as np
        from syncsam_lightning.records import NamedMask, RawSample
        for number in range(6):
            mask = np.zeros((8, 9), bool)
            mask[:{rows}] = True
            image = np.full((8, 9), number, np.uint8)
            yield RawSample(str(number), image, [NamedMask("m", mask)], "ct", "s", str(number))
"""


def test_what_a_plugin_began_is_not_gone_on_with_by_the_mended_one(
    digest_of, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def prepare(moment: str = "") -> list[int]:
        def stop(passed: str) -> None:
            if passed == moment:
                raise KeyboardInterrupt

        mine = importlib.import_module("plugin_of_test").Mine
        datamodule = mine(str(tmp_path), str(tmp_path / "t.lance"), image_size=8)
        datamodule.prepare(WorkOptions(unit_size=2, progress=False, at=stop))
        return [int(record.areas[0]) for record in datamodule.table.read(range(6))]

    digest_of("plugin_of_test", plugin_of_test=plugin(records=MASKS.format(rows=1)))
    with pytest.raises(KeyboardInterrupt):
        prepare("rows:1")
    digest_of("plugin_of_test", plugin_of_test=plugin(records=MASKS.format(rows=2)))
    assert prepare() == [2 * 9] * 6
    assert "holds unfinished work with other settings (code); starting anew" in caplog.text


def test_code_that_nobody_can_see_is_never_the_same():
    seen = type("Mine", (PromptableDataModule,), {"__module__": "typed_in_by_hand"})
    assert code_digest(seen) != code_digest(seen)


def test_threads_may_ask_at_once():
    """With other threads let in by a collection of garbage in the middle of a syntax tree."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-5)
    gc.set_threshold(50)
    gc.callbacks.append(_let_others_run)
    try:
        with ThreadPoolExecutor(4) as threads:
            digests = threads.map(code_digest, [PromptableDataModule] * 8)
            assert len(set(digests)) == 1
    finally:
        gc.callbacks.remove(_let_others_run)
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def _let_others_run(phase: str, info: dict[str, int]) -> None:
    for _ in range(200):
        pass
