"""Filters choose rows and masks, and refuse names that are not in the table."""

import numpy as np
import pytest

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample


class Zoo(PromptableDataModule):
    """Every fourth image has a tumour beside its organ."""

    card = DatasetCard("Zoo", "Made in memory.")
    needs_root = False

    def records(self, root):
        for number in range(24):
            organ, tumour = np.zeros((2, 16, 16), bool)
            organ[2:12, 2:12] = True
            tumour[4:6, 4 : 6 + number % 3] = True
            masks = [NamedMask("liver" if number % 2 else "kidney", organ)]
            if number % 4 == 0:
                masks.insert(0, NamedMask("tumour", tumour))
            yield RawSample(
                id=f"{number}",
                image=np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8),
                masks=masks,
                modality=("ct", "mr", "us")[number % 3],
                source=f"s{number % 6}",
                case=f"{number}",
                split="test" if number >= 18 else "train",
            )


@pytest.fixture
def zoo(tmp_path):
    def build(**names):
        datamodule = Zoo(
            table=str(tmp_path / "zoo.lance"),
            image_size=16,
            num_workers=0,
            val_fraction=0,
            filter=RowFilter(**names),
        )
        datamodule.prepare_data()
        datamodule.setup("fit")
        return datamodule

    return build


def infos(datamodule, split="train"):
    loader = datamodule.train_dataloader() if split == "train" else datamodule.test_dataloader()
    return [info for batch in loader for info in batch.infos if info.valid]


def objects(datamodule):
    return [entry for batch in datamodule.test_dataloader() for entry in batch.objects]


def test_no_filter_uses_everything(zoo):
    datamodule = zoo()
    assert [datamodule.num_rows(split) for split in ("train", "val", "test")] == [18, 0, 6]
    assert datamodule.groups().modalities == ("ct", "mr", "us")


def test_modalities_are_included_and_excluded_in_every_split(zoo):
    only = zoo(modality="ct")
    assert {info.modality for info in infos(only) + infos(only, "test")} == {"ct"}
    assert (only.num_rows("train"), only.num_rows("test")) == (6, 2)
    assert only.groups().modalities == ("ct",)
    without = zoo(modality_not=["ct", "us"])
    assert {info.modality for info in infos(without)} == {"mr"}


def test_sources_and_modalities_restrict_together(zoo):
    datamodule = zoo(modality=["ct", "mr"], source_not=["s0", "s1"])
    assert {info.source for info in infos(datamodule)} == {"s3", "s4"}
    assert datamodule.groups().sources == ("s3", "s4")


def test_a_class_filter_keeps_rows_with_such_masks_and_only_those(zoo):
    datamodule = zoo(label="tumour")
    assert sorted(int(info.id) for info in infos(datamodule)) == [0, 4, 8, 12, 16]
    batch = next(iter(datamodule.train_dataloader()))
    assert {entry.label for entry in batch.objects} == {"tumour"}
    assert {entry.label for entry in objects(datamodule)} == {"tumour"}


def test_masks_keep_their_numbers_when_others_are_left_out(zoo):
    datamodule = zoo(label_not=["tumour", "liver"])
    found = objects(datamodule)
    assert {entry.label for entry in found} == {"kidney"}
    assert sorted(entry.mask_id for entry in found) == [0, 0, 1]
    assert datamodule.num_rows("train") == 9


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"modality": ["ct", "pet"]}, "filter.modality: .* no modality 'pet'; it has ct, mr, us"),
        ({"source_not": "s9"}, "filter.source_not: .* no source 's9'; it has s0, s1"),
        ({"label": "livr"}, "filter.label: .* no label 'livr'; it has kidney, liver, tumour"),
    ],
)
def test_a_name_that_is_not_in_the_table_lists_what_is(zoo, names, message):
    with pytest.raises(FilterError, match=message):
        zoo(**names)


def test_a_filter_that_leaves_nothing_is_an_error_that_repeats_it(zoo):
    with pytest.raises(FilterError, match=r"modality: ct, source: s1\) leaves no image of"):
        zoo(modality="ct", source="s1")


def test_the_filter_goes_into_checkpoints_as_plain_values(zoo):
    settings = dict(zoo(modality="ct").hparams)
    assert settings["filter"]["modality"] == "ct"
    assert settings["sampling"] is None
