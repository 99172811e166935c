"""Made-up tables have the real schema and hold what they promise."""

from collections import Counter

import numpy as np
import pytest

from syncsam_lightning.data.index import TableIndex
from syncsam_lightning.data.synthetic import write_synthetic_table
from syncsam_lightning.data.table import Table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Table(write_synthetic_table(tmp_path_factory.mktemp("made") / "t.lance", 5000))


def test_rows_are_readable_and_boxes_and_areas_are_those_of_the_masks(table):
    for record in table.read(range(0, 5000, 250)):
        scale = record.height // record.image.shape[0]
        for mask, box, area in zip(record.masks, record.boxes, record.areas, strict=True):
            assert area == mask.sum() * scale**2
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert (np.array(edges) * scale).tolist() == box.tolist()


def test_all_images_differ(table):
    rows = table.rows(range(5000))
    assert len({row.image_frame for row in rows}) == 5000
    assert len({row.id for row in rows}) == 5000
    assert 4.2 < np.mean([row.num_masks for row in rows]) < 4.6


def test_groups_are_uneven_and_cases_lie_on_one_side(table):
    index = TableIndex.read(table)
    counts = Counter(index.modality.codes.tolist())
    assert counts[index.modality.values.index("ct")] > 1500
    assert 5 <= len(index.modality.values) <= 8
    assert len(index.source.values) > 20
    sides = {}
    for row in table.rows(range(5000)):
        sides.setdefault(row.case, set()).add((row.split, row.modality, row.source))
    assert {len(side) for side in sides.values()} == {1}
    assert len(sides) == 125
    assert 0.6 < np.mean(index.in_split("train")) < 0.9


def test_a_seed_gives_one_table(tmp_path):
    one, same, other = (
        [row.checksum() for row in Table(place).rows(range(100))]
        for place in (
            write_synthetic_table(tmp_path / "t.lance", 100),
            write_synthetic_table(tmp_path / "s.lance", 100),
            write_synthetic_table(tmp_path / "o.lance", 100, seed=1),
        )
    )
    assert one == same
    assert not set(one) & set(other)
    with pytest.raises(FileExistsError, match="is there already"):
        write_synthetic_table(tmp_path / "t.lance", 100)


def test_large_pixels_have_the_size_of_real_rows(tmp_path):
    table = Table(write_synthetic_table(tmp_path / "t.lance", 20, side=256))
    sizes = [len(row.image_frame) for row in table.rows(range(20))]
    assert 20_000 < np.mean(sizes) < 60_000
    assert table.read([3])[0].image.shape == (256, 256, 1)
