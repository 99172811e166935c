"""Several tables act as one data set: shares, evaluation of all, groups, resume."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.mixture import Mixture
from syncsam_lightning.data.rows import JoinedRows
from syncsam_lightning.data.sampling import Sampling
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample


class Large(PromptableDataModule):
    """Thirty images for training, of two modalities."""

    card = DatasetCard("Large", "Made in memory.")
    needs_root = False
    count = 30

    def records(self, root):
        for number in range(self.count + 5):
            mask = np.zeros((12, 20), bool)
            mask[2:9, 3 : 9 + number % 7] = True
            yield RawSample(
                id=f"{type(self).__name__}-{number}",
                image=np.random.default_rng(number).integers(0, 256, (12, 20), np.uint8),
                masks=[NamedMask("a", mask), NamedMask("b", ~mask)],
                modality="ct" if number % 3 else "mr",
                source=type(self).__name__,
                case=str(number),
                split="test" if number >= self.count else "train",
            )


class Small(Large):
    """Six images for training."""

    count = 6


@pytest.fixture
def mix(tmp_path):
    def build(weights=None, large=None, small=None, **options):
        parts = [
            Large(table=str(tmp_path / "large.lance"), val_fraction=0, **(large or {})),
            Small(table=str(tmp_path / "small.lance"), val_fraction=0, **(small or {})),
        ]
        options = {"image_size": 16, "batch_size": 4, "num_workers": 0, **options}
        mixture = Mixture(parts, weights, **options)
        mixture.prepare_data()
        mixture.setup("fit")
        return mixture

    return build


def trained(mixture):
    return [info for batch in mixture.train_dataloader() for info in batch.infos]


def test_without_weights_every_training_image_comes_once(mix):
    found = Counter(info.id for info in trained(mix()))
    assert len(found) == 36
    assert set(found.values()) == {1}


def test_weights_are_the_shares_of_the_parts(mix):
    found = Counter(info.source for info in trained(mix([1, 3], epoch_size=40)))
    assert found == {"Large": 10, "Small": 30}
    assert {info.source for info in trained(mix([0, 1], epoch_size=8))} == {"Small"}


def test_filters_and_sampling_of_the_parts_hold_within_their_shares(mix):
    mixture = mix(
        [1, 1],
        large={"sampling": Sampling("modality")},
        small={"filter": RowFilter(modality="ct")},
        epoch_size=40,
    )
    found = Counter((info.source, info.modality) for info in trained(mixture))
    assert found == {("Large", "ct"): 10, ("Large", "mr"): 10, ("Small", "ct"): 20}


def test_evaluation_visits_all_rows_of_all_parts_once(mix):
    mixture = mix([1, 0])
    infos = [i for batch in mixture.test_dataloader() for i in batch.infos if i.valid]
    assert (
        [info.index for info in infos] == list(range(10)) == list(range(mixture.num_rows("test")))
    )
    assert Counter(info.source for info in infos) == {"Large": 5, "Small": 5}
    assert mixture.groups().sources == ("Large", "Small")
    assert mixture.groups().modalities == ("ct", "mr")


def test_samples_are_those_that_the_part_would_give(mix):
    mixture = mix(small={"num_workers": 0})
    part = mixture.parts[1]
    part.setup("test")
    mixed, alone = list(mixture.test_dataloader()), list(part.test_dataloader())
    ours = torch.cat([batch.images for batch in mixed])[5:]
    assert torch.equal(ours, torch.cat([batch.images for batch in alone]))
    keys = torch.cat([batch.targets.keys for batch in mixed])[10:]
    assert torch.equal(keys, torch.cat([batch.targets.keys for batch in alone]))


def test_workers_do_not_change_the_mixture(mix):
    alone, shared = (
        [b.targets.keys.tolist() for b in mix([1, 2], num_workers=n).train_dataloader()]
        for n in (0, 2)
    )
    assert alone == shared


def test_a_mixture_resumes_within_an_epoch(mix):
    whole = [info.id for info in trained(mix([2, 1]))]
    mixture = mix([2, 1])
    mixture._begin = mixture.position().advanced(3, mixture.geometry())
    assert [info.id for info in trained(mixture)] == whole[12:]


def test_parts_take_the_size_of_the_mixture(mix):
    mixture = mix()
    assert [part.table_settings()["image_size"] for part in mixture.parts] == [16, 16]
    assert next(iter(mixture.train_dataloader())).images.shape == (4, 3, 16, 16)


def test_hyperparameters_hold_plain_values_only(mix):
    assert "parts" not in mix([1, 2]).hparams
    assert mix([1, 2]).hparams["weights"] == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1]}, "1 weights for 2 parts"),
        ({"weights": [0, 0]}, "one at least above 0"),
        ({"large": {"augmentation": [{"name": "Transpose"}]}}, "Large has augmentation of its own"),
        ({"small": {"sampling": Sampling(epoch_size=3)}}, "Small has sampling.epoch_size"),
        ({"epoch_size": 0}, "epoch_size must be at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(mix, options, message):
    with pytest.raises(ValueError, match=message):
        mix(**options)


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one datamodule"):
        Mixture([])


def test_damage_in_one_part_names_its_table(mix, tmp_path):
    mixture = mix()
    (file,) = (tmp_path / "small.lance" / "data").iterdir()
    content = bytearray(file.read_bytes())
    frame = mixture.parts[1].table.rows([0])[0].image_frame
    content[content.index(frame) + 40] ^= 1
    file.write_bytes(content)
    fresh = mix()
    told = [row.reason for batch in fresh.train_dataloader() for row in batch.damaged]
    assert len(told) == 1
    assert re.search(r"row 0 of .*small.lance \(image Small-0\) is damaged", told[0])


def test_joined_rows_keep_the_order_asked_for(mix):
    parts = [part.load_rows()["train"] for part in mix().parts]
    joined = JoinedRows(parts)
    assert len(joined) == 36
    wanted = [35, 0, 31, 31, 29, 30]
    expected = ["Small-5", "Large-0", "Small-1", "Small-1", "Large-29", "Small-0"]
    assert [row.id for row in joined.read(wanted)] == expected


class Absent(Large):
    """Needs a release."""

    needs_root = True


@pytest.fixture
def with_absent(tmp_path):
    def build(*absent_roots, **options):
        parts = [Large(table=str(tmp_path / "large.lance"), val_fraction=0)]
        parts += [
            Absent(root, str(tmp_path / f"{number}.lance"))
            for number, root in enumerate(absent_roots)
        ]
        return Mixture(parts, image_size=16, batch_size=4, num_workers=0, **options)

    return build


def test_every_missing_part_is_named_before_one_is_converted(with_absent, tmp_path):
    with pytest.raises(DatasetNotFoundError) as error:
        with_absent("here", "there").prepare_data()
    for text in ("2 of the 3 parts", "data root here does", "data root there does", "to skip"):
        assert text in str(error.value)
    assert not (tmp_path / "large.lance").exists()


def test_missing_parts_can_be_left_out_with_their_weights(with_absent):
    mixture = with_absent("here", missing_parts="skip", weights=[1, 2])
    mixture.prepare_data()
    mixture.setup("fit")
    assert {info.source for info in trained(mixture)} == {"Large"}
    assert mixture.groups().sources == ("Large",)
    assert "0.lance" not in mixture.place()


def test_something_must_be_there(tmp_path):
    mixture = Mixture([Absent("here", str(tmp_path / "t.lance"))], missing_parts="skip")
    with pytest.raises(DatasetNotFoundError, match="1 of the 1 parts") as error:
        mixture.prepare_data()
    assert "to skip" not in str(error.value)


def test_relative_roots_lie_in_the_mixtures(with_absent, tmp_path):
    mixture = with_absent("a", "/b", root=str(tmp_path))
    assert [part.root for part in mixture.parts[1:]] == [tmp_path / "a", Path("/b")]
