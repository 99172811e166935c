"""The model card: what a stranger needs to know before using a model.

Its front matter is that of Hugging Face model cards; its sections follow Mitchell et al., "Model
Cards for Model Reporting" (FAT* 2019), as far as the files of a run can fill them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from syncsam_lightning.errors import HubError
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint

_RESULTS, _RUN = "summary.csv", "run.json"
_SHOWN_SETTINGS = (
    "lr",
    "lr_milestones",
    "lr_gamma",
    "warmup_steps",
    "episode",
    "loss",
    "sam_checkpoint",
    "cnn_weights",
    "weights",
)
_PLACES = ("sam_checkpoint", "weights")


@dataclass(frozen=True, slots=True)
class TrainingNotes:
    """What a checkpoint tells about its training.

    Args:
        epoch: number of epochs that were finished, or None.
        steps: number of optimiser's steps, or None.
        settings: of the training module. Paths are reduced to file names.
        data: class of the datamodule and its settings, without places.
    """

    epoch: int | None = None
    steps: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: Path) -> TrainingNotes:
        """Read a checkpoint of ``syncsam fit``; of other files there is nothing to tell.

        Raises:
            WeightsError: the file can't be read.
        """
        content = read_checkpoint(checkpoint)
        if not isinstance(content, Mapping) or "hyper_parameters" not in content:
            return cls()
        given = content["hyper_parameters"]
        settings = {key: given[key] for key in _SHOWN_SETTINGS if given.get(key) is not None}
        for key in _PLACES:
            if key in settings:
                settings[key] = Path(str(settings[key])).name
        data = content.get("datamodule_hyper_parameters") or {}
        return cls(content.get("epoch"), content.get("global_step"), settings, _described(data))


def _described(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a datamodule's settings without bookkeeping and without places on somebody's disk."""
    hidden = ("root", "table", "storage_options", "num_workers", "batch_size", "eval_batch_size")
    described = {
        key: value
        for key, value in data.items()
        if not key.startswith("_") and key not in hidden and value is not None and value != []
    }
    if class_path := data.get("_class_path"):
        described = {"datamodule": str(class_path).rpartition(".")[2], **described}
    if batch_size := data.get("batch_size"):
        described["batch_size"] = batch_size
    return described


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that goes into a card.

    Args:
        model: the model.
        name: title of the card.
        training: of the checkpoint it is from.
        results: folders that ``syncsam test`` wrote, with a name each.
        license: identifier of the weights' licence; None: the card says that none is stated.
    """

    model: PromptableModel
    name: str
    training: TrainingNotes = field(default_factory=TrainingNotes)
    results: Mapping[str, Path] = field(default_factory=dict)
    license: str | None = None

    def text(self) -> str:
        """Return the card in Markdown.

        Raises:
            HubError: a result can't be read.
        """
        sections = [
            self._front_matter(),
            f"# {self.name}\n",
            self._about(),
            self._use(),
            self._training(),
            *(self._result(name, folder) for name, folder in self.results.items()),
            self._limits(),
        ]
        return "\n".join(section for section in sections if section)

    def _front_matter(self) -> str:
        entries: dict[str, Any] = {
            "library_name": "syncsam-lightning",
            "pipeline_tag": "mask-generation",
            "tags": ["medical-imaging", "promptable-segmentation", type(self.model).__name__],
        }
        if self.license is not None:
            entries["license"] = self.license
        return f"---\n{yaml.safe_dump(entries, sort_keys=False)}---\n"

    def _about(self) -> str:
        model, spec = self.model, self.model.input_spec
        total = sum(parameter.numel() for parameter in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        settings = ModelSettings.of(model)
        lines = [
            f"`{settings.class_path}`, {total:,} parameters, of which {trained:,} are trained.",
            "",
            f"- input: {spec.size} × {spec.size} pixels, RGB in 0..255, fitted by `{spec.fit}`",
            f"- prompts: {', '.join(sorted(spec.prompts))}",
            f"- output: mask logits, {spec.mask_size} × {spec.mask_size}",
            "- weights: `model.safetensors` is whole"
            + (
                "; it includes the weights that training left frozen, as their publisher gave them"
                if model.frozen_keys()
                else ""
            ),
            f"- licence of the weights: {self.license or 'not stated'}",
            "",
        ]
        return "\n".join(lines)

    @staticmethod
    def _use() -> str:
        return (
            "## Use\n\n```python\n"
            "from syncsam_lightning.hub import from_pretrained\n\n"
            'model = from_pretrained("THIS_REPOSITORY_OR_FOLDER")\n```\n'
        )

    def _training(self) -> str:
        notes = self.training
        if not notes.settings and not notes.data:
            return "## Training\n\nNothing is known of it: the weights came without a record.\n"
        counted = [
            f"{value} {what}"
            for value, what in ((notes.steps, "steps"), (notes.epoch, "finished epochs"))
            if value is not None
        ]
        dumped = yaml.safe_dump(
            {"data": dict(notes.data), "settings": _plain(notes.settings)}, sort_keys=False
        )
        return f"## Training\n\n{', '.join(counted)}.\n\n```yaml\n{dumped}```\n"

    def _result(self, name: str, folder: Path) -> str:
        rows = list(_scores(folder))
        header = ("protocol", "group", "name", "masks", "DSC", "95 % interval")
        lines = [_line(header), _line(["---"] * len(header)), *(_line(row) for row in rows)]
        origin = _origin(folder / _RUN)
        return (
            f"## Results: {name}\n\nMean DSC at the original resolution, interval by bootstrap "
            f"over cases.{origin}\n\n" + "\n".join(lines) + "\n"
        )

    @staticmethod
    def _limits() -> str:
        return (
            "## Limits\n\nFor research. Not a medical device: masks must be checked by somebody "
            "who can draw them. Quality outside the data named above is unknown.\n"
        )


def _scores(folder: Path) -> Iterator[Sequence[str]]:
    path = folder / _RESULTS
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("metric") == "dice"]
        for row in rows:
            low, high = row["ci_low"], row["ci_high"]
            interval = f"{float(low):.3f} to {float(high):.3f}" if low and high else "-"
            if row["group"] in ("all", "data set", "modality"):
                score = f"{float(row['mean']):.3f}"
                yield (
                    row["protocol"],
                    row["group"],
                    row["name"],
                    row["masks"],
                    score,
                    interval,
                )
    except (OSError, KeyError, ValueError) as error:
        raise HubError(
            f"{path} can't be read as a result ({type(error).__name__}: {error}): give a folder "
            "that `syncsam test` wrote"
        ) from error


def _origin(path: Path) -> str:
    """Return a sentence about the weights and the images of a result, as far as it is recorded."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    data = record.get("data") or {}
    images = data.get("test_images")
    about = f" {images} test images of {data.get('class')}." if images is not None else ""
    return f"{about} Weights {str(record.get('weights_sha256'))[:12]}."


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(value: Any) -> Any:
    """Return a value as YAML writes it without tags."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
