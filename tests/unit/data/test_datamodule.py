"""The base datamodule: tables, splits, loaders, determinism."""

from types import SimpleNamespace

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from syncsam_lightning.data.augmentation import Augmentation
from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.mixture import Mixture
from syncsam_lightning.data.resize import resize_masks
from syncsam_lightning.data.row import stored_rows
from syncsam_lightning.data.schema import CHECKSUM, FORMAT_KEY, IMAGE_DIGEST, SETTINGS_KEY
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import DatasetNotFoundError, TableError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample

TOLD = pytest.mark.promise("Ranks: samples that a number of ranks leaves out are told")


def batches(datamodule):
    return list(datamodule.train_dataloader())


def test_a_case_never_lies_on_two_sides_and_shares_are_kept(tiny):
    datamodule = tiny(test_fraction=0.2, val_fraction=0.1)
    cases = {
        split: {r.case for r in datamodule.table.read(datamodule.table.offsets(split))}
        for split in ("train", "val", "test")
    }
    assert [len(cases[split]) for split in ("train", "val", "test")] == [7, 1, 2]
    assert not cases["train"] & cases["test"]
    assert not cases["val"] & (cases["train"] | cases["test"])


@pytest.mark.parametrize(("by", "notes"), [("case", 0), ("image", 1)])
def test_the_report_of_a_conversion_tells_of_cases_on_two_sides(tiny, tmp_path, by, notes):
    datamodule = type(tiny())(table=str(tmp_path / "by.lance"), split_by=by, test_fraction=0.5)
    report = datamodule.prepare(WorkOptions())
    assert len(report.notes) == notes
    for note in report.notes:
        assert note.startswith("cases on two sides, by split_by image: ")
        assert " of tiny in train and test" in note
        assert note in report.details()


def test_a_training_batch_fulfils_the_contract(tiny):
    datamodule = tiny()
    batch = batches(datamodule)[0]
    assert batch.images.shape == (4, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert batch.targets.masks.shape == (12, 32, 32)
    assert batch.targets.image_index.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert batch.targets.sizes.tolist() == [[21, 32]] * 4
    assert batch.targets.masks.flatten(1).any(1).all()
    assert not batch.images[:, :, 21:].any()
    assert len(batch.objects) == 12
    assert batch.original_masks is None


def test_an_evaluation_batch_has_every_mask_at_the_original_size(tiny):
    datamodule = tiny()
    batch = next(iter(datamodule.test_dataloader()))
    assert all(masks.shape == (2, 40, 60) for masks in batch.original_masks)
    x0, y0, x1, y1 = batch.original_boxes[0].tolist()
    assert (x0, y0, x1, y1) == (20, 5, 35, 15)
    assert batch.targets.boxes[0].tolist() == pytest.approx(
        [20 * 32 / 60, 5 * 21 / 40, 35 * 32 / 60, 15 * 21 / 40]
    )


def flatten(batch):
    targets = batch.targets
    return (batch.images, targets.masks, targets.boxes, targets.keys, targets.sizes)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_seed_gives_the_same_batches_for_any_number_of_workers(tiny, workers):
    augmentation = [{"name": "HorizontalFlip", "p": 0.5}, {"name": "RandomBrightnessContrast"}]
    alone = batches(tiny(augmentation=augmentation))
    shared = batches(tiny(augmentation=augmentation, num_workers=workers))
    assert len(alone) == len(shared)
    for ours, theirs in zip(alone, shared, strict=True):
        for left, right in zip(flatten(ours), flatten(theirs), strict=True):
            assert torch.equal(left, right)


def test_one_mask_drawn_twice_gets_two_keys(tiny):
    batch = batches(tiny(masks_per_image=8))[0]
    assert len(set(batch.targets.keys.tolist())) == batch.targets.num_objects


def test_a_table_made_with_other_settings_is_refused(tiny):
    tiny(split_seed=1)
    with pytest.raises(TableError, match="prepared with split_seed=1, but split_seed=2 is asked"):
        tiny(split_seed=2)


def test_a_forked_process_may_not_read_an_opened_table(tiny):
    table = tiny().table
    assert len(table) == 20
    table._pid += 1  # what a fork looks like from inside
    with pytest.raises(TableError, match="before this process was forked"):
        len(table)


def test_a_missing_root_says_what_to_set(tiny, tmp_path):
    datamodule = tiny()
    type(datamodule).needs_root, before = True, type(datamodule).needs_root
    try:
        fresh = type(datamodule)(table=str(tmp_path / "other.lance"))
        with pytest.raises(
            DatasetNotFoundError, match=r"TinyData has no table at .* set data.root"
        ):
            fresh.prepare_data()
        fresh = type(datamodule)(root="nowhere", table=str(tmp_path / "other.lance"))
        with pytest.raises(DatasetNotFoundError, match="data root nowhere does not exist"):
            fresh.prepare_data()
    finally:
        type(datamodule).needs_root = before


def test_unknown_augmentations_are_refused_by_name():
    with pytest.raises(ValueError, match="augmentation 'Flipp' is no albumentations transform"):
        Augmentation([{"name": "Flipp"}])


def test_augmentation_is_a_function_of_its_key():
    chain = Augmentation([{"name": "HorizontalFlip", "p": 0.5}])
    image, masks = np.arange(12, dtype=np.uint8).reshape(3, 4, 1), np.zeros((1, 3, 4), bool)
    masks[0, 0, 0] = True
    seen = set()
    for key in range(12):
        changed, moved = chain(image, masks, key=key)
        again, _ = chain(image, masks, key=key)
        np.testing.assert_array_equal(changed, again)
        flipped = bool(moved[0, 0, 3])
        assert bool((changed[0, :, 0] == image[0, ::-1, 0]).all()) == flipped
        seen.add(flipped)
    assert seen == {True, False}


def test_resized_masks_follow_a_known_square():
    mask = np.zeros((1, 8, 16), bool)
    mask[0, 2:6, 4:12] = True
    expected = np.zeros((1, 4, 8), bool)
    expected[0, 1:3, 2:6] = True
    np.testing.assert_array_equal(resize_masks(mask, 4, 8), expected)


def test_tables_open_in_another_process_after_pickling(tiny):
    import pickle

    table = tiny().table
    len(table)
    copy = pickle.loads(pickle.dumps(table))
    assert isinstance(copy, Table)
    assert len(copy) == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("eval_batch_size", 0), ("masks_per_image", 0), ("num_workers", -1)],
)
def test_numbers_out_of_range_are_refused(tiny, name, value):
    with pytest.raises(ValueError, match=f"{name} must be .* got {value}"):
        tiny(**{name: value})


def test_everything_is_for_test_where_that_is_asked_for(tiny, tmp_path):
    datamodule = type(tiny())(table=str(tmp_path / "all.lance"), image_size=32, test_fraction=1)
    datamodule.prepare_data()
    datamodule.setup("test")
    assert [datamodule.num_rows(split) for split in ("train", "val", "test")] == [0, 0, 20]


class OneCase(PromptableDataModule):
    """Three slices of one case."""

    card = DatasetCard("One case", "Made in memory.")
    needs_root = False

    def records(self, root):
        for number in range(3):
            mask = [NamedMask("organ", np.ones((8, 8), bool))]
            image = np.full((8, 8), number, np.uint8)
            yield RawSample(f"{number}", image, mask, "ct", "one", "case", path=f"{number}")


def test_a_share_for_validation_of_which_nothing_is_left_is_refused_with_the_ways_out(tmp_path):
    def prepared(**options):
        table = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.lance")
        datamodule = OneCase(table=table, image_size=8, num_workers=0, **options)
        datamodule.prepare_data()
        return datamodule

    alone = prepared()
    with pytest.raises(TableError, match=r"3 images for training and none for validation.* image"):
        alone.setup("fit")
    with pytest.raises(TableError, match="none for validation"):
        Mixture([alone], image_size=8).setup("fit")
    with pytest.raises(TableError, match="has no rows for the val split"):
        alone.setup("validate")
    alone.trainer = SimpleNamespace(limit_val_batches=0, is_global_zero=True)
    alone.setup("fit")
    prepared(val_fraction=0).setup("fit")
    by_image = prepared(split_by="image")
    by_image.setup("fit")
    assert [by_image.num_rows(split) for split in ("train", "val", "test")] == [1, 1, 1]


def on_ranks(datamodule, world_size):
    """Return a datamodule as rank 0 of several has it."""
    datamodule.trainer = SimpleNamespace(
        world_size=world_size,
        global_rank=0,
        is_global_zero=True,
        current_epoch=0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    return datamodule


@TOLD
def test_samples_that_are_too_few_for_a_batch_on_all_ranks_are_told(tiny, caplog):
    datamodule = on_ranks(tiny(batch_size=2, val_fraction=0.0, test_fraction=0.0), 3)
    with caplog.at_level("INFO", logger="syncsam_lightning"):
        seen = list(datamodule.train_dataloader().sampler)
    assert len(seen) == 6  # a rank's share of 18
    assert "leaves out the last 2 of its 20 samples, too few for a batch on 3 ranks" in caplog.text
    caplog.clear()
    on_ranks(datamodule, 2).train_dataloader()
    assert not caplog.text


@TOLD
def test_fewer_samples_than_ranks_are_refused(tiny):
    with pytest.raises(TableError, match="20 training samples in an epoch, too few for 21 ranks"):
        on_ranks(tiny(val_fraction=0.0, test_fraction=0.0), 21).train_dataloader()


@pytest.fixture
def of_format_2(tiny, tmp_path):
    """A datamodule on the tiny table as format 2 had it: without digests."""
    rows = lance.dataset(str(tiny().table.path)).to_table().drop_columns([IMAGE_DIGEST])
    settings = rows.schema.metadata[SETTINGS_KEY]
    checksums = pa.array([row.checksum() for row in stored_rows(rows)], pa.uint32())
    old = rows.drop_columns([CHECKSUM]).append_column(CHECKSUM, checksums)
    metadata = {FORMAT_KEY: b"2", SETTINGS_KEY: settings}
    lance.write_dataset(old.replace_schema_metadata(metadata), str(tmp_path / "old.lance"))
    return type(tiny())(table=str(tmp_path / "old.lance"), image_size=32, num_workers=0)


def test_a_table_of_format_2_serves_for_tests(of_format_2, tiny):
    of_format_2.prepare_data()
    of_format_2.setup("test")
    old, new = next(iter(of_format_2.test_dataloader())), next(iter(tiny().test_dataloader()))
    assert old.targets.masks.equal(new.targets.masks[: len(old.targets.masks)])
    assert len(list(of_format_2.val_dataloader())) > 0


def test_a_table_of_format_2_is_refused_for_training_with_the_remedy(of_format_2):
    of_format_2.prepare_data()
    with pytest.raises(TableError, match="has format 2, whose training masks lie up to half a"):
        of_format_2.setup("fit")
    of_format_2.setup()
    with pytest.raises(TableError, match="to train, prepare it again"):
        of_format_2.train_dataloader()
