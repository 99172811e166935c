"""Prompts and files in, files of masks out."""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from syncsam_lightning.errors import BrokenInputError, InvalidPromptError
from syncsam_lightning.prediction.inputs import Input
from syncsam_lightning.prediction.mask_files import (
    ObjectMask,
    OutputError,
    VolumeFormat,
    VolumeMaskWriter,
    check_image_labels,
    chosen_format,
    write_image_mask,
    written_whole,
)
from syncsam_lightning.prediction.predictor import Predictor
from syncsam_lightning.prediction.prompt_list import ListedPrompt, group_objects
from syncsam_lightning.prediction.volume_predictor import (
    SlicePrompt,
    VolumePrediction,
    VolumePredictor,
)
from syncsam_lightning.records import Skipped
from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.reading import read_volume_file

log = logging.getLogger(__name__)

LIST, SKIPPED = "predictions.csv", "skipped.jsonl"
"""Names of what is written beside the masks."""


@dataclass(frozen=True)
class Found:
    """A line of ``predictions.csv``.

    Args:
        image: name of the input.
        label: of the object.
        object: its number among those of the label.
        file: of its mask, from the output folder; empty if it has none.
        pixels: of the mask (in a volume, voxels).
        score: stability score, of a volume the mean over the slices drawn on.
        millilitres: of the mask in a volume; None where the file says nothing of distances.
        plane: in which a volume was segmented.
        slices: first and last slice that is drawn on, ``12-40``; ``12-20, 25-40`` with a hole.
        ends: why it goes no further, down and up.
    """

    image: str
    label: str
    object: int
    file: str
    pixels: int
    score: float
    millilitres: float | None = None
    plane: str = ""
    slices: str = ""
    ends: str = ""

    def __str__(self) -> str:
        """Return what a user wants to know at once."""
        told = f"{self.image}: {self.label}"
        if self.object > 1:
            told += f" {self.object}"
        if not self.plane:
            return f"{told}, {self.pixels} pixels"
        size = f"{self.pixels} voxels"
        if self.millilitres is not None:
            size = f"{self.millilitres:.1f} ml"
        told += f", {self.plane} slices {self.slices or 'none'}, {size}"
        return f"{told} ({self.ends})" if self.ends else told


@dataclass(frozen=True)
class Outcome:
    """What became of all inputs.

    Args:
        found: the objects.
        skipped: inputs and prompts that could not be used, with the reason.
    """

    found: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write ``predictions.csv`` and, if anything was skipped, ``skipped.jsonl``.

        Raises:
            UnwritableOutputError: the folder can't be written to.
        """
        with (
            written_whole(folder / LIST) as place,
            place.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, [column.name for column in fields(Found)])
            writer.writeheader()
            writer.writerows(asdict(one) for one in self.found)
        lines = [json.dumps({"path": s.path, "reason": s.reason}) for s in self.skipped]
        target = folder / SKIPPED
        if lines:
            with written_whole(target) as place:
                place.write_text("\n".join(lines) + "\n", encoding="utf-8")
        else:
            target.unlink(missing_ok=True)  # that of an earlier run


class FilePredictor:
    """Segments inputs by listed prompts and writes what it finds.

    Args:
        predictor: with the model.
        volumes: over the same predictor, with window, plane and stop rule.
        output: folder of the masks.
        volume_format: what masks of volumes are written as.
        resample: whether NIfTI masks of sheared volumes are brought to a grid at right angles.
    """

    def __init__(
        self,
        predictor: Predictor,
        volumes: VolumePredictor,
        output: Path,
        *,
        volume_format: VolumeFormat = "auto",
        resample: bool = False,
    ) -> None:
        self.predictor, self.volumes = predictor, volumes
        self.output, self.volume_format, self.resample = output, volume_format, resample
        self._sources: dict[str, Input] = {}

    def run(
        self,
        pairs: Iterable[tuple[Input, Sequence[ListedPrompt]]],
        *,
        on_slice: Callable[[int], object] | None = None,
    ) -> Outcome:
        """Segment every input; what can't be used is skipped and listed.

        Args:
            pairs: inputs with their prompts.
            on_slice: called with the number of each slice of a volume that was looked at.

        Raises:
            UnsupportedPromptError: the model can't be prompted this way at all.
            MissingPackageError: a package for the format is not installed.
            UnwritableOutputError: the output can't be written to.
        """
        outcome = Outcome()
        for source, prompts in pairs:
            try:
                self._check_name(source)
                if source.kind == "image":
                    self._image(source, prompts, outcome)
                else:
                    self._volume(source, prompts, outcome, on_slice)
                self._sources[source.stem] = source
            except BrokenInputError as error:
                outcome.skipped.append(Skipped(error.path, error.reason))
            except OutputError as error:
                outcome.skipped.append(Skipped(str(source.path), str(error)))
        return outcome

    def _check_name(self, source: Input) -> None:
        if other := self._sources.get(source.stem):
            raise OutputError(
                f"its masks would have the names of those of {other.path}: segment it on its own"
            )

    def _image(self, source: Input, prompts: Sequence[ListedPrompt], outcome: Outcome) -> None:
        check_image_labels(source, [prompt.label for prompt in prompts])
        self.predictor.set_image(source.path)
        numbers: Counter[str] = Counter()
        for prompt in prompts:
            # One that can't be used keeps its number, so that the others have that of their prompt.
            numbers[prompt.label] += 1
            try:
                if prompt.slice is not None:
                    raise InvalidPromptError("an image has no slices; leave slice out")
                answer = self.predictor.predict(**prompt.arguments)
            except InvalidPromptError as error:
                outcome.skipped.append(_skipped(source, prompt, error))
                continue
            one = ObjectMask(prompt.label, numbers[prompt.label], answer.masks[0])
            # At once, and then forgotten: the masks of many objects on a slide take gigabytes.
            file = write_image_mask(self.output, source, one)
            outcome.found.append(
                Found(
                    image=source.name,
                    label=one.label,
                    object=one.number,
                    file=file.relative_to(self.output).as_posix(),
                    pixels=int(one.mask.sum()),
                    score=round(float(answer.scores[0]), 4),
                )
            )

    def _volume(
        self,
        source: Input,
        prompts: Sequence[ListedPrompt],
        outcome: Outcome,
        on_slice: Callable[[int], object] | None,
    ) -> None:
        is_dicom = source.kind == "dicom"
        volume = read_series(source.files) if is_dicom else read_volume_file(source.path)
        objects = group_objects(prompts)
        file_format = chosen_format(source, volume, list(objects), self.volume_format)
        self.volumes.set_volume(volume)
        writer = VolumeMaskWriter(
            self.output,
            source,
            volume,
            file_format,
            resample=self.resample,
            algorithm=type(self.predictor.model).__name__,
        )
        found: list[Found] = []
        for (label, number), about in objects.items():
            try:
                answer = self.volumes.predict(
                    [self._slice_prompt(prompt) for prompt in about], progress=on_slice
                )
            except InvalidPromptError as error:
                outcome.skipped.append(_skipped(source, about[0], error))
                continue
            one = ObjectMask(label, number, answer.mask)
            if self.volumes.propagate and answer.holes:
                log.warning(
                    "%s: %s has a hole: between its prompts nothing is drawn on slices %s; prompt "
                    "it there too",
                    source.name,
                    one.name,
                    _ranges(answer.holes),
                )
            file = writer.add(one)
            if file is None:
                reason = f"{one.name} is empty, which a DICOM SEG has no place for"
                outcome.skipped.append(Skipped(str(source.path), reason))
            name = "" if file is None else file.relative_to(self.output).as_posix()
            found.append(_found_in_volume(source, one, answer, volume, name))
        writer.finish()
        outcome.found.extend(found)

    def _slice_prompt(self, prompt: ListedPrompt) -> SlicePrompt:
        number = prompt.slice
        if number is None:
            slices = self.volumes.shape[0]
            if slices > 1:
                raise InvalidPromptError(
                    f"a prompt in a volume says on which slice it lies (0 to {slices - 1})"
                )
            number = 0
        return SlicePrompt(number, **prompt.arguments)


def _skipped(source: Input, prompt: ListedPrompt, error: Exception) -> Skipped:
    where = f" ({prompt.where})" if prompt.where else ""
    return Skipped(str(source.path), f"{prompt.label}{where}: {error}")


def _ranges(slices: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{first}-{last}" for first, last in slices)


def _found_in_volume(
    source: Input, one: ObjectMask, answer: VolumePrediction, volume: Volume, file: str
) -> Found:
    return Found(
        image=source.name,
        label=one.label,
        object=one.number,
        file=file,
        pixels=int(one.mask.sum()),
        score=round(float(np.mean(list(answer.scores.values()))), 4),
        millilitres=(
            round(int(one.mask.sum()) * volume.voxel_volume / 1000, 4)
            if volume.has_spacing
            else None
        ),
        plane=answer.plane,
        slices=_ranges(answer.runs),
        ends="; ".join(
            f"{direction} of {number}: {reason}"
            for (number, direction), reason in sorted(answer.ends.items())
        ),
    )
