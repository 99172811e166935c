"""A run goes on with the rows that it was trained on, and with no others."""

from types import SimpleNamespace

import numpy as np
import pytest

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.mixture import Mixture
from syncsam_lightning.data.resume import Position, ResumeError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample


class Ward(PromptableDataModule):
    """Twelve images, half CT and half MR, each with a liver and a spleen."""

    card = DatasetCard("Ward", "Made in memory.")
    needs_root = False
    shift = 0

    def records(self, root):
        liver, spleen = np.zeros((2, 8, 8), bool)
        liver[:4, :4], spleen[5:, 5:] = True, True
        for number in range(12):
            yield RawSample(
                id=f"{number}",
                image=np.random.default_rng(number + self.shift).integers(0, 9, (8, 8), np.uint8),
                masks=[NamedMask("liver", liver), NamedMask("spleen", spleen)],
                modality=("ct", "mr")[number % 2],
                source="ward",
                case=f"{number}",
                split="train",
            )


class OtherWard(Ward):
    """As many other images under the same names."""

    shift = 100


def fitting(datamodule):
    """Return a datamodule as it is in a fit on one rank."""
    datamodule.prepare_data()
    datamodule.setup("fit")
    progress = SimpleNamespace(current=SimpleNamespace(ready=1, processed=1))
    datamodule.trainer = SimpleNamespace(
        world_size=1,
        state=SimpleNamespace(fn="fit"),
        fit_loop=SimpleNamespace(
            epoch_progress=progress, epoch_loop=SimpleNamespace(batch_progress=progress)
        ),
    )
    return datamodule


@pytest.fixture
def ward(tmp_path):
    def build(kind=Ward, place=None, **names):
        return fitting(
            kind(
                table=str(place or tmp_path / f"{kind.__name__}.lance"),
                image_size=8,
                batch_size=2,
                val_fraction=0,
                num_workers=0,
                filter=RowFilter(**names),
            )
        )

    return build


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"modality": "ct"}, {"modality": "mr"}),
        ({"label": "liver"}, {"label": "spleen"}),
        ({"label": "liver"}, {}),
        ({}, {"label_not": "spleen"}),
        ({}, {"kind": OtherWard}),
    ],
)
def test_as_many_other_rows_or_masks_are_not_resumed(ward, before, after):
    state = ward(**before).state_dict()
    with pytest.raises(ResumeError, match=r"rows .* differ from those that the checkpoint's run"):
        ward(**after).load_state_dict(state)


def test_the_same_rows_are_resumed_where_they_lie_elsewhere_and_however_they_are_named(
    ward, tmp_path
):
    state = ward(label=["spleen", "liver"]).state_dict()
    for names in ({"label": ["liver", "spleen"]}, {"label": ("spleen", "liver")}):
        moved = ward(place=tmp_path / "moved.lance", **names)
        moved.load_state_dict(state)
        assert moved._begin.samples == 2


def test_rows_of_the_parts_of_a_mixture_are_compared(ward, tmp_path):
    def mixture(*kinds):
        parts = [ward(kind) for kind in kinds]
        return fitting(Mixture(parts, image_size=8, batch_size=2, num_workers=0))

    state = mixture(Ward, OtherWard).state_dict()
    mixture(Ward, OtherWard).load_state_dict(state)
    with pytest.raises(ResumeError, match="rows"):
        mixture(OtherWard, Ward).load_state_dict(state)


def test_a_checkpoint_that_names_no_rows_is_resumed_with_a_notice(ward, caplog):
    state = ward(modality="ct").state_dict()
    del state["rows"]
    datamodule = ward(modality="ct")
    datamodule.load_state_dict(state)
    assert datamodule._begin.samples == 2
    assert "does not say which rows its run was trained on" in caplog.text


def test_positions_go_through_plain_values():
    position = Position(1, 2, 3, 4, order=5, rows=6)
    assert Position.from_state(position.state()) == position
