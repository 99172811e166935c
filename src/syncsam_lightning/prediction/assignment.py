"""Which prompt is about which image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from syncsam_lightning.errors import PromptFileError
from syncsam_lightning.prediction.inputs import Input
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from syncsam_lightning.records import Skipped

_SHOWN = 5


def assign_prompts(
    inputs: Sequence[Input], prompts: Sequence[ListedPrompt], base: Path | None = None
) -> tuple[list[tuple[Input, list[ListedPrompt]]], list[Skipped]]:
    """Find the input that each prompt is about.

    A prompt names its image as reports do (:attr:`Input.name`), or by a path from the working
    folder or from ``base``; a DICOM series of one file by that file, too. A prompt that names none
    is about every input.

    Args:
        inputs: what there is.
        prompts: from a file, or of the command line.
        base: folder of the file of prompts.

    Returns:
        the inputs that have prompts, with these, in order; and those that have none.

    Raises:
        PromptFileError: a prompt is about an image that is not there, or could be about several.
    """
    by_name: dict[str, list[int]] = {}
    by_path: dict[Path, list[int]] = {}
    for index, one in enumerate(inputs):
        by_name.setdefault(one.name, []).append(index)
        by_path.setdefault(one.path.resolve(), []).append(index)
        if one.file_name and one.file_name != one.name:
            by_name.setdefault(one.file_name, []).append(index)
            by_path.setdefault(one.files[0].resolve(), []).append(index)
        if one.is_one_of_several:  # by the folder alone, to be told what it holds
            by_name.setdefault(one.name.rpartition("/")[0], []).append(index)
            by_path.setdefault(one.path.parent.resolve(), []).append(index)
    about: list[list[ListedPrompt]] = [[] for _ in inputs]
    for prompt in prompts:
        if not prompt.image:
            matching = list(range(len(inputs)))
        else:
            matching = by_name.get(prompt.image, [])
            for folder in (Path(), base):
                if not matching and folder is not None:
                    matching = by_path.get((folder / prompt.image).resolve(), [])
            _check_one(prompt, [inputs[index] for index in matching], inputs)
        for index in matching:
            about[index].append(prompt)
    pairs = [(one, found) for one, found in zip(inputs, about, strict=True) if found]
    without = [
        Skipped(str(one.path), "there is no prompt about it")
        for one, found in zip(inputs, about, strict=True)
        if not found
    ]
    return pairs, without


def _check_one(prompt: ListedPrompt, matching: Sequence[Input], inputs: Sequence[Input]) -> None:
    if not matching:
        raise PromptFileError(
            f"{prompt.where}: there is no image {prompt.image!r} among those given: "
            f"{_listed([one.name for one in inputs])}"
        )
    if len(matching) > 1:
        raise PromptFileError(
            f"{prompt.where}: {prompt.image!r} is the name of {len(matching)} images; give the one "
            f"that is meant: {_listed([_told(one) for one in matching])}"
        )


def _told(one: Input) -> str:
    if not one.is_one_of_several:
        return str(one.path)
    about = f"{one.description}, " if one.description else ""
    return f"{one.name} ({about}{len(one.files)} file{'' if len(one.files) == 1 else 's'})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
