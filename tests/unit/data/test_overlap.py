"""Images and patients on two sides are counted and named, within a table and over several."""

import numpy as np
import pytest

from syncsam_lightning.data import streaming
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.mixture import Mixture
from syncsam_lightning.data.overlap import notes_on_rows, notes_on_training, training_record
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample

MASK = [NamedMask("organ", np.ones((8, 8), bool))]


class Given(PromptableDataModule):
    """Images that a test names: (source, case, pixels' seed, split)."""

    card = DatasetCard("Given", "Made in memory.")
    needs_root = False
    images = ()

    def records(self, root):
        for number, (source, case, seed, split) in enumerate(self.images):
            pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
            yield RawSample(
                f"{source}-{number}",
                pixels,
                MASK,
                "ct",
                source,
                case,
                split=split,
                path=f"{number}",
            )


@pytest.fixture
def given(tmp_path):
    def build(*images, **options):
        table = tmp_path / f"{len(list(tmp_path.iterdir()))}.lance"
        datamodule = Given(table=str(table), image_size=8, num_workers=0, val_fraction=0, **options)
        datamodule.images = images
        datamodule.prepare_data()
        datamodule.load_rows()
        return datamodule

    return build


def test_equal_images_on_two_sides_are_counted_and_named(given):
    part = given(
        ("A", "1", 1, "train"),
        ("A", "2", 2, "train"),
        ("B", "3", 1, "test"),
        ("B", "4", 4, "test"),
        ("B", "5", 2, "val"),
        ("B", "6", 4, "test"),  # twice, but on one side
    )
    assert notes_on_rows(part.used_rows()) == [
        "1 of 1 val images are equal, pixel for pixel, to train images: B-4",
        "1 of 3 test images are equal, pixel for pixel, to train images: B-2",
    ]


def test_rows_that_a_filter_leaves_out_are_not_counted(given):
    images = [("A", "1", 1, "train"), ("B", "1", 2, "train"), ("A", "2", 2, "test")]
    assert len(notes_on_rows(given(*images).used_rows())) == 1
    assert notes_on_rows(given(*images, filter=RowFilter(source="A")).used_rows()) == []


def test_many_equal_images_are_named_in_part(given):
    images = [("A", f"{n}", n % 10, ("train", "test")[n // 10]) for n in range(20)]
    (note,) = notes_on_rows(given(*images).used_rows())
    assert note == (
        "10 of 10 test images are equal, pixel for pixel, to train images: A-10, A-11, A-12, ..."
    )


def test_images_and_patients_of_two_tables_are_compared(given):
    parts = [
        given(("KiTS", "case_00012", 1, "train"), ("KiTS", "case_00013", 2, "train")),
        given(
            ("KiTS2023", "00012", 3, "test"),
            ("KiTS2023", "00014", 1, "test"),
            ("WORD", "1", 5, "test"),
        ),
    ]
    mixture = Mixture(parts, image_size=8)
    mixture.load_rows()
    assert notes_on_rows(mixture.used_rows()) == [
        "1 of 3 test images are equal, pixel for pixel, to train images: KiTS2023-1",
        "cases on two sides, by the splits of the tables: 1 of KiTS, KiTS2023 in train and test",
    ]
    assert notes_on_rows([]) == []


def test_what_is_found_is_told_once_when_a_run_begins(given, caplog):
    part = given(("A", "1", 1, "train"), ("A", "2", 1, "test"))
    part.setup("predict")
    assert "pixel for pixel" not in caplog.text
    part.setup("fit")
    assert caplog.text.count("are equal, pixel for pixel") == 1
    assert part.place() in caplog.text


def test_hashes_that_cannot_be_read_do_not_end_a_run(given, caplog, monkeypatch):
    part = given(("A", "1", 1, "train"), ("A", "2", 1, "test"))

    def broken(rows):
        raise TableError("damaged")

    monkeypatch.setattr(streaming, "notes_on_rows", broken)
    part.setup("fit")
    assert "images on two sides can't be found: damaged" in caplog.text


def test_data_sets_that_share_patients_with_those_trained_on_are_named(given):
    trained = given(
        ("KiTS2021", "1", 1, "train"),
        ("AbdomenCT1K", "1", 2, "train"),
        ("WORD", "1", 3, "train"),
        ("AMOS2022", "1", 3, "test"),
    )
    record = training_record(trained.used_rows())
    assert record["sources"] == ["AbdomenCT1K", "KiTS2021", "WORD"]
    tested = given(
        ("KiTS2023", "1", 4, "test"),
        ("word", "1", 5, "test"),
        ("AMOS", "1", 6, "test"),
        ("FLARE22", "1", 7, "train"),
    )
    (note,) = notes_on_training(tested.used_rows(), record)
    assert note.endswith(": KiTS2023 (AbdomenCT1K, KiTS2021); word (WORD)")
    # The table that was trained on has a split of its own, wherever it lies now.
    assert notes_on_training(trained.used_rows(), record) == []
    assert notes_on_training(tested.used_rows(), {}) == []
