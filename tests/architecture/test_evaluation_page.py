"""docs/evaluation.md names every protocol, file, column and option there is."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from syncsam_lightning.evaluation.prompt_file import PromptRow
from syncsam_lightning.evaluation.scores import SCORE_FIELDS
from syncsam_lightning.evaluation.summary import GROUPINGS, METRICS, SummaryRow
from syncsam_lightning.interaction import PROTOCOLS
from syncsam_lightning.training.module import InteractiveSegmentation

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [*SCORE_FIELDS, *METRICS, *GROUPINGS]
    + [field.name for row in (PromptRow, SummaryRow) for field in fields(row)],
)
def test_every_column_is_named(name: str):
    assert f"`{name}`" in PAGE


def test_every_protocol_is_named_with_its_version():
    assert {name.rpartition("-")[0] for name in PROTOCOLS} == {"", "sammed2d", "imis"}
    (version,) = [line for line in PAGE.splitlines() if line.startswith("| version")]
    found = [cell.strip() for cell in version.strip("|").split("|")][1:]
    for prefix, cell in zip(("", "sammed2d-", "imis-"), found, strict=True):
        versions = [str(PROTOCOLS[prefix + step].version) for step in ("box", "1pt", "5pts")]
        assert cell == (", ".join(versions) if len(set(versions)) > 1 else versions[0])


def test_options_and_their_defaults_are_those_of_the_module():
    parameters = inspect.signature(InteractiveSegmentation).parameters
    for name in ("protocols", "eval_seeds", "surface_metrics", "surface_tolerance"):
        default = parameters[name].default
        shown = (
            f"[{', '.join(map(str, default))}]" if isinstance(default, tuple) else str(default)
        ).replace("False", "false")
        assert f"| `{name}` | `{shown}` |" in PAGE
