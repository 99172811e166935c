"""Damage anywhere in a table's data is noticed, and the row is named."""

import json
import resource
import subprocess
import sys

import lance
import numpy as np
import pyarrow as pa
import pytest
import xxhash

from syncsam_lightning.data.conversion.convert import convert
from syncsam_lightning.data.row import stored_rows
from syncsam_lightning.data.schema import (
    CHECKSUM,
    COLUMNS,
    FORMAT_KEY,
    IMAGE_DIGEST,
    SETTINGS_KEY,
    record_batch,
    table_schema,
)
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import NamedMask, RawSample

NUM_ROWS = 8


def samples():
    for number in range(NUM_ROWS):
        rng = np.random.default_rng(number)
        masks = rng.random((1 + number % 3, 20, 30)) < 0.3
        yield RawSample(
            id=f"image-{number}",
            image=rng.integers(0, 256, (20, 30, 3 if number % 2 else 1), np.uint8),
            masks=[NamedMask(f"organ-{i}", mask) for i, mask in enumerate(masks)],
            modality="ct" if number < 4 else "mr",
            source="here",
            case=f"case-{number}",
        )


@pytest.fixture
def table(tmp_path):
    place = tmp_path / "t.lance"
    convert(samples(), place, image_size=32, split_of=lambda sample: "train", settings={})
    return Table(place)


def same(left, right):
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in left.__dataclass_fields__
    )


def flip_bytes(table, seed, flips=300):
    """Read every row after each of some flips; return how often damage was noticed."""
    whole = table.read(range(NUM_ROWS))
    (file,) = (table.path / "data").iterdir()
    original = file.read_bytes()
    rng = np.random.default_rng(seed)
    noticed = 0
    for position in rng.integers(len(original), size=flips).tolist():
        damaged = bytearray(original)
        damaged[position] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        fresh = Table(table.path)
        for number, expected in enumerate(whole):
            try:
                (found,) = fresh.read([number])
            except TableError as error:
                if f"row {number} of {table.path}" not in str(error):
                    raise
                noticed += 1
            else:
                assert same(found, expected), f"byte {position} changed row {number} in silence"
    return noticed


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_flipped_byte_anywhere_is_noticed_or_harmless(table, seed):
    # In a process of its own with limited memory: about one in a thousand changes to the bytes by
    # which Lance finds its values makes Lance itself ask for all memory there is.
    done = subprocess.run(
        [sys.executable, __file__, str(table.path), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 200


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
def test_a_flipped_bit_in_pixels_is_noticed(table):
    rows = table.rows(range(NUM_ROWS))
    (file,) = (table.path / "data").iterdir()
    original = file.read_bytes()
    rng = np.random.default_rng(0)
    for number, row in enumerate(rows):
        begin = original.index(row.image_frame)
        position = begin + int(rng.integers(len(row.image_frame)))
        damaged = bytearray(original)
        damaged[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(TableError, match=rf"row {number} of .* is damaged"):
            Table(table.path).read(range(NUM_ROWS))


def change(name, value):
    return lambda row: row | {name: value(row[name])}


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
@pytest.mark.parametrize(
    "damage",
    [
        change("id", lambda text: text + "x"),
        change("modality", lambda text: "us"),
        change("case", lambda text: text[:-1]),
        change("split", lambda text: "test"),
        change("height", lambda number: number + 1),
        change("labels", lambda labels: ["other", *labels[1:]]),
        change("boxes", lambda boxes: [[0, *boxes[0][1:3], 31], *boxes[1:]]),
        change("areas", lambda areas: [areas[0] + 1, *areas[1:]]),
        change("mask_ids", lambda ids: ids[::-1]),
        change("masks", lambda masks: masks[::-1]),
        change("image_digest", lambda digest: digest[::-1]),
    ],
)
def test_every_value_of_a_row_is_under_its_checksum(table, damage):
    row = lance.dataset(str(table.path)).take([2]).to_pylist()[0]
    stored = row.pop(CHECKSUM)
    schema = table_schema(b"{}")
    assert record_batch([row], schema)[CHECKSUM][0].as_py() == stored
    assert record_batch([damage(row)], schema)[CHECKSUM][0].as_py() != stored


def test_pixels_of_another_row_are_noticed(table):
    first, second = lance.dataset(str(table.path)).take([0, 2]).drop_columns([CHECKSUM]).to_pylist()
    schema = table_schema(b"{}")
    swapped = first | {"image": second["image"]}
    checksums = [record_batch([row], schema)[CHECKSUM][0].as_py() for row in (first, swapped)]
    assert checksums[0] != checksums[1]


def test_a_table_of_format_1_is_read_without_checksums(table, tmp_path):
    rows = lance.dataset(str(table.path)).to_table().select(COLUMNS)
    old = tmp_path / "old.lance"
    metadata = {FORMAT_KEY: b"1", SETTINGS_KEY: json.dumps({}).encode()}
    lance.write_dataset(rows.replace_schema_metadata(metadata), str(old))
    for found, expected in zip(Table(old).read(range(NUM_ROWS)), table.read(range(8)), strict=True):
        assert same(found, expected)


def test_a_table_of_format_2_is_read_without_digests_and_checked(table, tmp_path):
    rows = lance.dataset(str(table.path)).to_table().drop_columns([IMAGE_DIGEST])
    batch = rows.combine_chunks().to_batches()[0]
    checksums = pa.array([row.checksum() for row in stored_rows(rows)], pa.uint32())
    # As format 2 wrote them: over the values that it had.
    old = pa.Table.from_batches([batch.drop_columns([CHECKSUM])]).append_column(CHECKSUM, checksums)
    metadata = {FORMAT_KEY: b"2", SETTINGS_KEY: json.dumps({}).encode()}
    place = tmp_path / "old.lance"
    lance.write_dataset(old.replace_schema_metadata(metadata), str(place))
    for found, expected in zip(Table(place).read(range(8)), table.read(range(8)), strict=True):
        assert same(found, expected)
    broken = old.set_column(
        old.column_names.index("case"), "case", pa.array(["other"] * NUM_ROWS)
    ).replace_schema_metadata(metadata)
    lance.write_dataset(broken, str(tmp_path / "broken.lance"))
    with pytest.raises(TableError, match="its checksum differs"):
        Table(tmp_path / "broken.lance").read([3])


def test_the_digest_is_of_the_original_pixels_and_tells_images_apart(tmp_path):
    pixels = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
    mask = [NamedMask("organ", np.ones((40, 60), bool))]
    turned = pixels.reshape(60, 40)  # the same bytes in another shape
    images = {"grey": pixels, "rgb": np.stack([pixels] * 3, axis=2), "other": pixels + 1}
    drawn = [RawSample(name, image, mask, "ct", "s", name) for name, image in images.items()]
    drawn.append(
        RawSample("turned", turned, [NamedMask("organ", mask[0].mask.T)], "ct", "s", "turned")
    )
    sides = {"grey": "train"}
    convert(
        drawn,
        tmp_path / "t.lance",
        image_size=32,
        split_of=lambda sample: sides.get(sample.id, "test"),
        settings={},
    )
    rows = Table(tmp_path / "t.lance").rows(range(4))
    grey, rgb, other, tall = (row.image_digest for row in rows)
    assert len(grey) == 16
    assert rows[0].stored_height < 40 == rows[1].stored_height
    known = xxhash.xxh3_128(b"(40, 60, 1)" + pixels.tobytes()).digest()
    assert grey == rgb == known
    assert len({grey, other, tall}) == 3


def test_a_newer_format_and_missing_columns_are_refused(table, tmp_path):
    rows = lance.dataset(str(table.path)).to_table()
    for name, metadata, columns, message in (
        ("new", {FORMAT_KEY: b"4"}, rows, "has format 4, this version reads up to 3: update"),
        ("less", {FORMAT_KEY: b"2"}, rows.drop_columns([CHECKSUM]), "lacks the columns checksum"),
        ("digest", {FORMAT_KEY: b"3"}, rows.drop_columns([IMAGE_DIGEST]), "columns image_digest"),
        ("foreign", {}, rows, "was not made by syncsam prepare"),
    ):
        place = tmp_path / f"{name}.lance"
        lance.write_dataset(columns.replace_schema_metadata(metadata), str(place))
        with pytest.raises(TableError, match=message):
            len(Table(place))


@pytest.mark.parametrize("version", [b"", b"two", b"-1", b"0", b"9" * 5000])
def test_a_format_that_is_no_number_is_refused(table, tmp_path, version):
    rows = lance.dataset(str(table.path)).to_table()
    lance.write_dataset(
        rows.replace_schema_metadata({FORMAT_KEY: version}), str(tmp_path / "x.lance")
    )
    with pytest.raises(TableError, match=r"x\.lance has format .* expected a number"):
        len(Table(tmp_path / "x.lance"))


@pytest.mark.parametrize("settings", [b"", b"[1]", b"{", b"[" * 100_000])
def test_settings_that_are_damaged_are_told(table, tmp_path, settings):
    rows = lance.dataset(str(table.path)).to_table()
    metadata = {FORMAT_KEY: b"2", SETTINGS_KEY: settings}
    lance.write_dataset(rows.replace_schema_metadata(metadata), str(tmp_path / "x.lance"))
    with pytest.raises(TableError, match=r"the settings of .*x\.lance cannot be read"):
        Table(tmp_path / "x.lance").settings  # noqa: B018


def test_checksums_do_not_depend_on_how_rows_are_batched(table):
    taken = lance.dataset(str(table.path)).take([6, 1, 6, 3])
    expected = taken[CHECKSUM].to_pylist()
    assert [row.checksum() for row in stored_rows(taken)] == expected
    sliced = pa.Table.from_batches([taken.combine_chunks().to_batches()[0].slice(1, 3)])
    assert [row.checksum() for row in stored_rows(sliced)] == expected[1:]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    print(flip_bytes(Table(sys.argv[1]), int(sys.argv[2])))
