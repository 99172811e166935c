"""Hostile files among what a user gives to a command: configs, weights, prompts, own images."""

from __future__ import annotations

import gzip
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.cli.checkpoint_config import checkpoint_config
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.evaluation.prompt_file import RecordedPrompts, prompt_table
from syncsam_lightning.hub import load_pretrained
from syncsam_lightning.hub.folder import CONFIG, WEIGHTS
from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
from syncsam_lightning.prediction.prompt_list import read_prompts
from syncsam_lightning.records import Skipped
from syncsam_lightning.training.module import InteractiveSegmentation
from syncsam_lightning.volumes.reading import read_volume as read_any_volume
from tests.fuzz import folder_seeds, seeds
from tests.itk_files import mha, nrrd
from tests.security.attack import CODE, ESCAPE, MEMORY, Attack, RefusedError, payload

_VOXELS = np.zeros((2, 3, 4), np.int16)


def config(text: str) -> Callable[[Path], object]:
    """Return an attack by a config file."""

    def run(folder: Path) -> object:
        path = folder / "x.yaml"
        path.write_text(text.replace("FOLDER", str(folder)))
        return GivenSettings(["fit", "--config", str(path)]).keys()

    return run


def checkpoint(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return an attack by a checkpoint with a payload beside its weights."""

    def run(folder: Path) -> object:
        path = folder / "x.ckpt"
        torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": payload(folder)}, path)
        return read(path)

    return run


def called(_cls: type, settings: dict[str, object]) -> object:
    """Be called by a version of Lightning that calls whatever a checkpoint names."""
    Path(str(settings["place"])).mkdir()
    raise RefusedError("too late")


def named_function(folder: Path) -> object:
    path = folder / "x.ckpt"
    settings = {
        "_instantiator": f"{__name__}.{called.__name__}",
        "place": str(folder / "executed"),
    }
    content = {"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": settings}
    torch.save({**content, "pytorch-lightning_version": "2.6.0"}, path)
    return InteractiveSegmentation.load_from_checkpoint(path, weights_only=False)


def call_in_a_number(folder: Path) -> object:
    array = np.empty((), object)
    array[()] = payload(folder)
    path = folder / "x.pth"
    torch.save({"a": torch.zeros(1), "number": Scalar(array)}, path)
    return read_state_dict(path)


class Scalar:
    """Pickles as a NumPy scalar of type object, which holds what it is given."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return np.float64(0).__reduce__()[0], (self.array.dtype, self.array.item())


def plain_pickle(folder: Path) -> object:
    path = folder / "x.pth"
    path.write_bytes(pickle.dumps(payload(folder)))
    return read_state_dict(path)


def many_prompts(folder: Path) -> object:
    count, empty = 1 << 20, prompt_table([])
    nulls = [pa.nulls(count, field.type) for field in empty.schema]
    path = folder / "prompts.parquet"
    pq.write_table(pa.table(nulls, schema=empty.schema), path, compression="zstd")
    return RecordedPrompts(path)


def dicom(**tags: object) -> Callable[[Path], object]:
    """Return an attack by a DICOM file some attributes of which are wrong."""

    def run(folder: Path) -> object:
        path = folder / "slice.dcm"
        path.write_bytes(folder_seeds.slice_file(**tags))
        return read_any_volume(path)

    return run


def greedy_dicom(folder: Path) -> object:
    path = folder / "slice.dcm"
    path.write_bytes(folder_seeds.greedy_slice())
    return read_any_volume(path)


def deflated_dicom(folder: Path) -> object:
    path = folder / "slice.dcm"
    sound = folder_seeds.deflated_slice()
    # Behind the magic word and the element that has the length of the others.
    begin = 144 + int.from_bytes(sound[140:144], "little")
    deflater, megabyte = zlib.compressobj(wbits=-zlib.MAX_WBITS), bytes(1 << 20)
    with path.open("wb") as file:
        file.write(sound[:begin])
        for _ in range(1 << 10):
            file.write(deflater.compress(megabyte))
        file.write(deflater.flush())
    return read_any_volume(path)


def declared_by_jpeg(*, is_jpeg_ls: bool) -> Callable[[Path], object]:
    """Return an attack by a slice whose compressed image declares 900 million pixels."""

    def run(folder: Path) -> object:
        path = folder / "slice.dcm"
        path.write_bytes(folder_seeds.lossless_slice(30000, 30000, is_jpeg_ls=is_jpeg_ls))
        return read_any_volume(path)

    return run


def volume_to_predict(name: str) -> Callable[[Path], object]:
    """Return an attack by a volume of some hundred bytes that declares 17 GB."""

    def run(folder: Path) -> object:
        data = bytearray(nib.Nifti1Image(np.zeros((2, 3, 4)), np.eye(4)).to_bytes())
        data[40:56] = struct.pack("<8h", 3, 1290, 1290, 1290, 1, 1, 1, 1)
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return read_any_volume(folder / name)

    return run


def itk_to_predict(name: str, content: bytes) -> Callable[[Path], object]:
    """Return an attack by a NRRD or MetaImage file, beside which lies what it may not read."""

    def run(folder: Path) -> object:
        (folder / "secret.raw").write_bytes(bytes(24))
        (folder / "data").mkdir()
        (folder / "data" / name).write_bytes(content)
        return read_any_volume(folder / "data" / name)

    return run


def inflating_metaimage(folder: Path) -> object:
    deflater, megabyte = zlib.compressobj(), bytes(1 << 20)
    data = b"".join([*(deflater.compress(megabyte) for _ in range(256)), deflater.flush()])
    header = mha(_VOXELS, CompressedData="True", CompressedDataSize=str(len(data)))
    (folder / "x.mha").write_bytes(header[: -_VOXELS.nbytes] + data)
    return read_any_volume(folder / "x.mha")


def prompts_to_predict(content: bytes, name: str = "prompts.json") -> Callable[[Path], object]:
    """Return an attack by a file of prompts."""

    def run(folder: Path) -> object:
        (folder / name).write_bytes(content)
        return read_prompts(folder / name)

    return run


def model_folder(name: str, content: bytes) -> Callable[[Path], object]:
    """Return an attack by one file of a model's folder."""

    def run(folder: Path) -> object:
        for file, sound in folder_seeds.model_folder().items():
            hostile = content.replace(b"FOLDER", str(folder).encode())
            (folder / file).write_bytes(hostile if file == name else sound)
        return load_pretrained(folder)

    return run


def pickled_model(folder: Path) -> object:
    return model_folder(WEIGHTS, pickle.dumps(payload(folder)))(folder)


def bomb_among_masks(folder: Path) -> object:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    picture = seeds.saved(lambda path: Image.fromarray(seeds.PIXELS).save(path, "PNG"))
    (folder / "images" / "a.png").write_bytes(picture)
    (folder / "masks" / "a.png").write_bytes(seeds.png_header(100_000, 100_000))
    for item in MaskFolder(str(folder)).records(folder):
        if isinstance(item, Skipped):
            raise RefusedError(item.reason)
    return None


USE_ATTACKS = [
    Attack(
        "config: aliases of aliases",
        MEMORY,
        config(seeds.configs()[2].decode()),
        "100,000 settings",
    ),
    Attack("config: an alias of itself", MEMORY, config("data: &a {b: *a}\n"), "100,000 settings"),
    Attack(
        "config: a call",
        CODE,
        config("!!python/object/apply:os.mkdir [FOLDER/executed]\n"),
        "is not valid YAML",
    ),
    Attack("checkpoint: a pickled call", CODE, checkpoint(read_state_dict), "could run code"),
    Attack(
        "checkpoint to test: a pickled call",
        CODE,
        checkpoint(checkpoint_config),
        "cannot be read as a",
    ),
    Attack(
        "checkpoint to load: settings that name a function to be called",
        CODE,
        named_function,
        "names a function to be called, 'tests.security.use_attacks.called'",
    ),
    Attack(
        "checkpoint: a number of NumPy that is an object with a pickled call",
        CODE,
        call_in_a_number,
        "could run code",
    ),
    Attack("weights: a bare pickle", CODE, plain_pickle, "is a pickle, not a file of torch.save"),
    Attack(
        "prompts: a million rows in some kilobytes", MEMORY, many_prompts, "more rows than it can"
    ),
    Attack(
        "DICOM: a slice that declares 65,535 x 65,535 pixels",
        MEMORY,
        dicom(Rows=65535, Columns=65535),
        "declares 65535 x 65535 pixels, expected 1 to",
    ),
    Attack(
        "DICOM: an element that says it has 4 GB", MEMORY, greedy_dicom, "declares 0 x 0 pixels"
    ),
    Attack(
        "DICOM: pixels that are not there", MEMORY, dicom(PixelData=b""), "pixels cannot be decoded"
    ),
    Attack(
        "DICOM: a deflated file of a megabyte that holds a gigabyte",
        MEMORY,
        deflated_dicom,
        "inflates to more than",
    ),
    Attack(
        "DICOM: a JPEG Lossless image that declares 30,000 x 30,000 pixels",
        MEMORY,
        declared_by_jpeg(is_jpeg_ls=False),
        "a JPEG image of (30000, 30000, 1) rows",
    ),
    Attack(
        "DICOM: a JPEG-LS image that declares 30,000 x 30,000 pixels",
        MEMORY,
        declared_by_jpeg(is_jpeg_ls=True),
        "a JPEG image of (30000, 30000, 1) rows",
    ),
    Attack(
        "NIfTI to predict: a header that declares 17 GB",
        MEMORY,
        volume_to_predict("x.nii"),
        "declares 17173512352 bytes, which its",
    ),
    Attack(
        "NIfTI to predict: a zipped header that declares 17 GB",
        MEMORY,
        volume_to_predict("x.nii.gz"),
        "declares 17173512352 bytes, which its",
    ),
    Attack(
        "NRRD to predict: voxels in a file of another folder",
        ESCAPE,
        itk_to_predict("x.nhdr", nrrd(_VOXELS, "data file: ../secret.raw")),
        "keeps its voxels in another file, ../secret.raw",
    ),
    Attack(
        "NRRD to predict: the same in a word that ITK takes for it",
        ESCAPE,
        itk_to_predict("x.nrrd", nrrd(_VOXELS, "Datafile: ../secret.raw")),
        "keeps its voxels in another file, ../secret.raw",
    ),
    Attack(
        "MetaImage to predict: voxels in a list of files",
        ESCAPE,
        itk_to_predict("x.mha", mha(_VOXELS, ElementDataFile="LIST")),
        "keeps its voxels in another file, LIST",
    ),
    Attack(
        "NRRD to predict: a header that declares 10^15 voxels",
        MEMORY,
        itk_to_predict(
            "x.nrrd",
            nrrd(_VOXELS, encoding="gzip").replace(b"sizes: 2 3 4", b"sizes: 99999 99999 99999"),
        ),
        "voxels, over the limit",
    ),
    Attack(
        "MetaImage to predict: 48 bytes that inflate to 256 MiB",
        MEMORY,
        inflating_metaimage,
        "it holds more than its header says",
    ),
    Attack(
        "DICOM: a film that declares 100,000 frames",
        MEMORY,
        dicom(**folder_seeds.COLOURS | {"NumberOfFrames": 100_000, "Rows": 80, "Columns": 80}),
        "pixels cannot be decoded",
    ),
    Attack(
        "prompts to predict: 100,000 nested brackets",
        MEMORY,
        prompts_to_predict(seeds.nested("[", "]")),
        "is not JSON: maximum recursion depth",
    ),
    Attack(
        "prompts to predict: a number of 400 digits",
        MEMORY,
        prompts_to_predict(b'[{"image": "a", "box": [1, 2, 3, ' + b"9" * 400 + b"]}]"),
        "a coordinate has too many digits",
    ),
    Attack(
        "mask folder: a PNG that declares 100,000 x 100,000 pixels",
        MEMORY,
        bomb_among_masks,
        "cannot",
    ),
    Attack(
        "model: a config that names a function of the system",
        CODE,
        model_folder(
            CONFIG,
            b'{"format": 1, "model": {"class_path": "os.mkdir", "init_args": {"path": "x"}}}',
        ),
        "which is no PromptableModel",
    ),
    Attack(
        "model: a config of 100,000 nested objects",
        MEMORY,
        model_folder(CONFIG, seeds.nested('{"a":')),
        "can't be read: maximum recursion depth",
    ),
    Attack(
        "model: a pickled call for weights",
        CODE,
        pickled_model,
        "is not a safetensors file, or is damaged",
    ),
    Attack(
        "model: weights that declare 2^64 bytes",
        MEMORY,
        model_folder(WEIGHTS, folder_seeds.model_weights()[1]),
        "is not a safetensors file, or is damaged",
    ),
]
