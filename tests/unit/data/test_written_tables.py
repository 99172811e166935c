"""A table of an earlier version of the format and of pylance is read as it was written.

``tests/data/format_2_pylance_14`` was written by ``write_synthetic_table(place, 5, side=16)`` with
pylance 14 and format 2. It stays as it is: when the bound of pylance moves, this says what became
of the tables that people have.
"""

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from syncsam_lightning.data.conversion import check_unchanged
from syncsam_lightning.data.synthetic import write_synthetic_table
from syncsam_lightning.data.table import Table

WRITTEN = Path(__file__).parents[2] / "data" / "format_2_pylance_14"

ROWS = [
    ("image-000000000", "mr class 17", 5, 105472, "625cd92dc050741d"),
    ("image-000000001", "mr class 13", 3, 59392, "09be98d8f3815400"),
    ("image-000000002", "mr class 14", 6, 124928, "a618dbbfc74e0505"),
    ("image-000000003", "mr class 1", 5, 117760, "f1ed08d277dead1b"),
    ("image-000000004", "mr class 6", 4, 33792, "dae1076e96fbd88e"),
]
"""Id, first label, masks, their area, and the digest of all pixels."""


@pytest.fixture
def table(tmp_path: Path) -> Table:
    shutil.copytree(WRITTEN, tmp_path / "written.lance")
    return Table(tmp_path / "written.lance")


def test_every_value_of_an_earlier_table_is_read(table: Table):
    found = []
    for row in table.rows([0, 1, 2, 3, 4]):
        digest = hashlib.sha256(row.image().tobytes() + row.masks().tobytes()).hexdigest()
        area = int(row.areas.sum())
        found.append((row.id, row.labels[0], row.num_masks, area, digest[:16]))
    assert found == ROWS


def test_rows_of_an_earlier_table_are_read_in_any_order(table: Table):
    assert [row.id for row in table.rows([3, 0])] == ["image-000000003", "image-000000000"]
    assert np.asarray(table.offsets("train")).tolist() == [0, 1, 2, 3, 4]


def test_using_a_table_of_an_earlier_version_is_told(
    table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    check_unchanged(table, None)
    (line,) = caplog.messages
    assert f"{table} was prepared by an earlier version" in line
    assert "for those of today remove it and run the same command" in line
    caplog.clear()
    write_synthetic_table(tmp_path / "new.lance", 2, side=16)
    check_unchanged(Table(tmp_path / "new.lance"), None)
    assert not caplog.messages
