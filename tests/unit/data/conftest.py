"""A tiny release made in memory: known shapes, known answers."""

from pathlib import Path

import numpy as np
import pytest

from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample


def make_sample(number, *, height=40, width=60, colour=False, split=None, case=None):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (height, width, 3 if colour else 1), np.uint8)
    square, bar = np.zeros((2, height, width), bool)
    square[5:15, 20:35] = True
    bar[30 : 31 + number % 5, 2:50] = True
    return RawSample(
        id=f"image-{number}",
        image=image,
        masks=[NamedMask("square", square), NamedMask("bar", bar)],
        modality="ct" if number % 2 else "mr",
        source="tiny",
        case=case or f"case-{number // 2}",
        split=split,
    )


class TinyData(PromptableDataModule):
    """Twenty images on ten cases."""

    card = DatasetCard("Tiny", "Made in memory.", layout=("nothing",))
    needs_root = False
    num_images = 20

    def records(self, root: Path):
        for number in range(self.num_images):
            yield make_sample(number, colour=number % 3 == 0)


@pytest.fixture
def tiny(tmp_path):
    def build(**kwargs):
        options = {"image_size": 32, "batch_size": 4, "masks_per_image": 3, "num_workers": 0}
        datamodule = TinyData(table=str(tmp_path / "tiny.lance"), **(options | kwargs))
        datamodule.prepare_data()
        datamodule.setup("fit")
        return datamodule

    return build
