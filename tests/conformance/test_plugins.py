"""What every datamodule that this package announces must do.

A new plugin joins by one entry in ``RELEASES``: a function that writes a small release, with 12
images of 6 cases at least, and returns the options to read it with.
"""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonargparse
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy import sparse

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.plugins import GROUP, load_datamodules
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.errors import DatasetNotFoundError, TableError
from syncsam_lightning.records import SPLITS, RawSample, Skipped

HEIGHT, WIDTH = 24, 36
CASES, SLICES = 6, 2
FRACTIONS = {"test_fraction": 0.34, "val_fraction": 0.17}


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def rectangle(number: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[2 : 8 + number, 3 : 15 - number] = 1
    return mask


def save_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def samed2d(root: Path) -> dict[str, Any]:
    folder, index = root / "SAMed2Dv1", {}
    for number in range(CASES * SLICES):
        name = f"ct_00--AMOS2022--amos_{number // SLICES}--z_{number % SLICES:04d}"
        picture(folder / "images" / f"{name}.png", number)
        masks = [f"masks/{name}--{label:04d}_000.png" for label in range(2)]
        for label, mask in enumerate(masks):
            save_mask(folder / mask, rectangle(label) * 255)
        index[f"images/{name}.png"] = masks
    (folder / "SAMed2D_v1.json").write_text(json.dumps(index))
    classes = {"AMOS2022": {"liver": 0, "spleen": 1}}
    (folder / "SAMed2D_v1_class_mapping_id.json").write_text(json.dumps(classes))
    return FRACTIONS


def imed361m(root: Path) -> dict[str, Any]:
    folder = root / "BTCV"
    for name in ("image", "label", "imask"):
        (folder / name).mkdir(parents=True)
    content: dict[str, Any] = {
        "modality": {"0": "ct"},
        "labels": {"0": "background", "1": "liver", "2": "absent", "3": "spleen"},
        "training": [],
        "test": [],
    }
    dense = np.stack([rectangle(0), np.zeros((HEIGHT, WIDTH)), rectangle(1)]).astype(np.int32)
    for number in range(CASES * SLICES):
        name = f"ABD_{number // SLICES:03d}_{number % SLICES}"
        label = f"label/x___{name}.(3, {HEIGHT}, {WIDTH}, 1).npz"
        picture(folder / "image" / f"{name}.png", number)
        with (folder / label).open("wb") as file:
            sparse.save_npz(file, sparse.csr_matrix(dense.reshape(3, -1)))
        np.save(folder / "imask" / f"x___{name}.npy", rectangle(3).astype(np.int64)[..., None])
        part = "training" if number < 8 else "test"
        entry = {"image": f"image/{name}.png", "label": label, "imask": f"imask/x___{name}.npy"}
        content[part].append(entry)
    (folder / "dataset.json").write_text(json.dumps(content))
    return {"val_fraction": 0.25, "pseudo_masks": True}


def mask_folder(root: Path) -> dict[str, Any]:
    for number in range(CASES * SLICES):
        name = f"p{number // SLICES}_{number % SLICES}.png"
        picture(root / "images" / name, number)
        save_mask(root / "masks" / name, rectangle(0) + rectangle(3))
    return {
        "modality": "photograph",
        "case_pattern": "^p[0-9]+",
        "label_names": {2: "x"},
    } | FRACTIONS


def mni152(root: Path) -> dict[str, Any]:
    return {}


def pairs(root: Path, names: Callable[[int], tuple[str, str]], scale: int = 255) -> dict[str, Any]:
    for number in range(CASES * SLICES):
        image, mask = names(number)
        picture(root / image, number)
        save_mask(root / mask, rectangle(number % 3) * scale)
    return FRACTIONS


def sts(root: Path) -> dict[str, Any]:
    return pairs(root, lambda n: (f"A-PXI/image/{n}.png", f"A-PXI/mask/{n}.png"))


def cosas24(root: Path) -> dict[str, Any]:
    return pairs(root, lambda n: (f"domain{n % 2}/image/{n}.png", f"domain{n % 2}/mask/{n}.png"), 1)


def kpis(root: Path) -> dict[str, Any]:
    def names(number: int) -> tuple[str, str]:
        slide = f"12_{number // SLICES}"
        stem = f"{slide}_{number}_0_0"
        folder = f"test/56Nx/{slide}"
        return f"{folder}/img/{stem}_img.jpg", f"{folder}/mask/{stem}_mask.jpg"

    return pairs(root, names)


def ebhi(root: Path) -> dict[str, Any]:
    def names(number: int) -> tuple[str, str]:
        folder = f"EBHI-SEG/{('Normal', 'Polyp')[number % 2]}"
        return f"{folder}/image/{number // 2}.png", f"{folder}/label/{number // 2}.png"

    return pairs(root, names)


def volume(path: Path, planes: list[np.ndarray], dtype: type) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.stack(planes, axis=-1).astype(dtype)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 3, 1])), path)


def volumes(root: Path, names: Callable[[int], list[str]], label_type: type) -> dict[str, Any]:
    for number in range(CASES):
        image, *labels = names(number)
        noise = np.random.default_rng(number).normal(0, 100, (HEIGHT, WIDTH, SLICES))
        volume(root / image, list(np.moveaxis(noise, -1, 0)), np.int16)
        for label in labels:
            volume(root / label, [rectangle(position) for position in range(SLICES)], label_type)
    return FRACTIONS


def hntsmrg(root: Path) -> dict[str, Any]:
    def names(number: int) -> list[str]:
        start = f"HNTSMRG24_train/{number}/preRT/{number}_preRT"
        return [f"{start}_T2.nii.gz", f"{start}_mask.nii.gz"]

    return volumes(root, names, np.uint8)


def curvas(root: Path) -> dict[str, Any]:
    def names(number: int) -> list[str]:
        folder = f"training_set/UK{number}"
        return [f"{folder}/image.nii.gz", *(f"{folder}/annotation_{r}.nii.gz" for r in (1, 2, 3))]

    return volumes(root, names, np.float32) | {"preprocessing": "recommended", "raters": "all"}


RELEASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "SAMed2D": samed2d,
    "IMed361M": imed361m,
    "MaskFolder": mask_folder,
    "MNI152": mni152,
    "STS": sts,
    "HNTSMRG": hntsmrg,
    "CURVAS": curvas,
    "COSAS24": cosas24,
    "KPIs": kpis,
    "EBHI": ebhi,
}
Plugin = type[PromptableDataModule]
Build = Callable[..., PromptableDataModule]


@pytest.fixture(scope="module", params=sorted(RELEASES))
def plugin(request: pytest.FixtureRequest) -> Plugin:
    return load_datamodules()[0][request.param]


@pytest.fixture(scope="module")
def root(plugin: Plugin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def options(plugin: Plugin, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = RELEASES[plugin.__name__](root)
    table = str(tmp_path_factory.mktemp("table") / "t.lance")
    small = {"image_size": 32, "batch_size": 4, "num_workers": 0, "masks_per_image": 3}
    return {"root": str(root) if plugin.needs_root else None, "table": table} | small | found


@pytest.fixture(scope="module")
def prepared(plugin: Plugin, options: dict[str, Any]) -> PromptableDataModule:
    datamodule = plugin(**options)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


@pytest.fixture(scope="module")
def found(prepared: PromptableDataModule, root: Path) -> list[RawSample | Skipped]:
    return list(prepared.records(root))


@pytest.fixture
def samples(found: list[RawSample | Skipped]) -> list[RawSample]:
    return [item for item in found if isinstance(item, RawSample)]


def test_every_datamodule_of_this_package_is_listed_here():
    ours = distribution("syncsam-lightning").entry_points.select(group=GROUP)
    assert sorted(entry.name for entry in ours) == sorted(RELEASES)


def test_the_entry_point_has_the_name_of_the_class(plugin: Plugin):
    (entry,) = distribution("syncsam-lightning").entry_points.select(
        group=GROUP, name=plugin.__name__
    )
    assert entry.load() is plugin
    assert entry.module.startswith("syncsam_datamodules.")


def test_the_card_tells_a_user_what_to_know(plugin: Plugin):
    card = plugin.card
    assert all((card.name, card.description, card.license, card.modalities, card.layout))
    assert not isinstance(card.modalities, str)
    assert not isinstance(card.layout, str)
    assert card.description.endswith(".")


def test_it_is_built_from_plain_yaml(plugin: Plugin, options: dict[str, Any]):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(PromptableDataModule, "data")
    config = {"class_path": plugin.__name__, "init_args": options}
    built = parser.instantiate(parser.parse_object({"data": config})).data
    assert type(built) is plugin
    assert built.table_settings() == plugin(**options).table_settings()


def test_its_settings_are_kept_as_hyperparameters_that_build_it_again(
    plugin: Plugin, options: dict[str, Any]
):
    kept = dict(plugin(**options).hparams)
    assert {name: kept[name] for name in options} == options
    assert json.dumps(kept)
    assert dict(plugin(**kept).hparams) == kept


def test_every_option_of_its_own_shapes_the_table(plugin: Plugin):
    inherited = inspect.signature(PromptableDataModule.__init__).parameters
    own = set(inspect.signature(plugin.__init__).parameters) - set(inherited) - {"kwargs"}
    settings = plugin().table_settings()
    assert own <= set(settings)
    assert json.loads(json.dumps(settings)) == settings


def test_records_come_one_by_one_and_twice_the_same(
    prepared: PromptableDataModule, root: Path, found: list[RawSample | Skipped]
):
    assert inspect.isgenerator(prepared.records(root))
    names = [item.id if isinstance(item, RawSample) else item for item in found]
    again = list(prepared.records(root))
    assert names == [item.id if isinstance(item, RawSample) else item for item in again]


def test_ids_are_unique_and_every_name_is_told(samples: list[RawSample]):
    assert len(samples) >= CASES * SLICES
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        told = (sample.id, sample.modality, sample.source, sample.case, sample.path)
        assert all(isinstance(text, str) and text for text in told)
        assert sample.split in (None, *SPLITS)
        assert sample.masks
        assert all(mask.label and mask.path for mask in sample.masks)


def test_pixels_are_loaded_from_a_pickled_sample(samples: list[RawSample]):
    for sample in samples[:: len(samples) // 6]:
        copy: RawSample = pickle.loads(pickle.dumps(sample))
        image = resolve_image(copy.image, copy.path)
        assert image.dtype == np.uint8
        for mask in copy.masks:
            assert resolve_mask(mask.mask, mask.path).shape == image.shape[:2]


def test_nothing_of_a_sound_release_is_skipped(
    prepared: PromptableDataModule, samples: list[RawSample]
):
    report = prepared.table.path.with_name("t.skipped.jsonl")
    assert report.read_text() == ""
    rows = {split: prepared.num_rows(split) for split in SPLITS}
    assert sum(rows.values()) == len(samples)
    assert all(rows.values())


def test_no_case_is_on_two_sides_of_the_split(prepared: PromptableDataModule):
    sides: dict[tuple[str, str], set[str]] = {}
    loaders = {"train": prepared.train_dataloader, "val": prepared.val_dataloader}
    for split, loader in (loaders | {"test": prepared.test_dataloader}).items():
        for batch in loader():
            for info in batch.infos:
                sides.setdefault((info.source, info.case), set()).add(split)
    assert len(sides) >= CASES
    assert all(len(split) == 1 for split in sides.values())


def test_a_training_batch_holds_images_and_drawn_masks(prepared: PromptableDataModule):
    batch = next(iter(prepared.train_dataloader()))
    assert isinstance(batch, ImageBatch)
    assert tuple(batch.images.shape) == (4, 3, 32, 32)
    assert tuple(batch.targets.masks.shape) == (12, 32, 32)
    assert batch.targets.masks.flatten(1).any(dim=1).all()


def test_every_test_image_is_visited_once_with_all_its_masks(
    prepared: PromptableDataModule, samples: list[RawSample]
):
    masks = {sample.id: [mask.label for mask in sample.masks] for sample in samples}
    seen = []
    for batch in prepared.test_dataloader():
        labels = iter(batch.objects)
        for info, drawn in zip(batch.infos, batch.original_masks, strict=True):
            seen.append(info.id)
            assert [next(labels).label for _ in drawn] == masks[info.id]
            assert tuple(drawn.shape[1:]) == (info.height, info.width)
    assert len(seen) == len(set(seen)) == prepared.num_rows("test")


def test_its_groups_are_what_its_samples_say(
    prepared: PromptableDataModule, samples: list[RawSample]
):
    assert set(prepared.groups().sources) == {sample.source for sample in samples}
    assert set(prepared.groups().modalities) == {sample.modality for sample in samples}


def test_a_table_that_other_settings_made_is_refused(
    plugin: Plugin, options: dict[str, Any], prepared: PromptableDataModule
):
    other = plugin(**(options | {"split_seed": 48}))
    with pytest.raises(TableError, match=r"with split_seed=\d+, but split_seed=48 is asked"):
        other.setup()


def test_one_table_serves_models_of_every_size_and_fit(
    plugin: Plugin,
    options: dict[str, Any],
    prepared: PromptableDataModule,
    caplog: pytest.LogCaptureFixture,
):
    other = plugin(**(options | {"image_size": 48, "image_fit": "stretch"}))
    other.setup()
    assert "with a long side of 32 pixels, which are enlarged to 48 here" in caplog.text
    for loader in (other.train_dataloader(), other.test_dataloader()):
        batch = next(iter(loader))
        assert batch.images.shape[2:] == batch.targets.masks.shape[1:] == (48, 48)
        assert (batch.targets.sizes == 48).all()


def test_a_missing_root_is_named_with_the_layout(plugin: Plugin, tmp_path: Path):
    if not plugin.needs_root:
        plugin(str(tmp_path / "nowhere"), str(tmp_path / "t.lance"), num_workers=0).prepare_data()
        assert (tmp_path / "t.lance").is_dir()
        return
    datamodule = plugin(str(tmp_path / "nowhere"), str(tmp_path / "t.lance"))
    with pytest.raises(DatasetNotFoundError) as error:
        datamodule.prepare_data()
    assert f"{plugin.__name__}: data root {tmp_path / 'nowhere'} does not exist" in str(error.value)
    assert " ".join(plugin.card.layout[0].split()) in str(error.value)


def test_a_folder_that_is_no_release_is_told_and_leaves_no_table(plugin: Plugin, tmp_path: Path):
    if not plugin.needs_root:
        pytest.skip("its data are carried by an installed package")
    (tmp_path / "readme.txt").write_text("")
    datamodule = plugin(str(tmp_path), str(tmp_path / "out" / "t.lance"))
    with pytest.raises(DatasetNotFoundError, match="no "):
        datamodule.prepare_data()
    assert list(tmp_path.rglob("*.lance*")) == []
