"""One screen of help for each Lightning command, written without importing Lightning."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from syncsam_lightning.cli.catalog import datamodule_names, listed_configs

_WIDTH = 100

COMMANDS: Mapping[str, str] = {
    "fit": "train a model",
    "validate": "measure a model on the validation split",
    "test": "measure a model on the test split and write its report",
    "predict": "segment images and volumes, or the images of a table",
    "compare": "put measured models side by side",
    "export": "write a model for other programs, or for a hub",
    "prepare": "convert a raw release into the table that training reads",
}
"""Every command with the line that `syncsam --help` shows for it."""

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")
"""The commands that LightningCLI runs."""


@dataclass(frozen=True, slots=True)
class Option:
    """One line of a guide.

    Args:
        name: the option with its dashes.
        value: placeholder of its value.
        text: what it sets.
        default: its default, as it is written on the command line; None where there is none.
    """

    name: str
    value: str
    text: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Guide:
    """What ``syncsam COMMAND --help`` says.

    Args:
        purpose: what the command does.
        options: the options that people use.
        examples: complete command lines.
    """

    purpose: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]


_CONFIG = Option("--config", "FILE", "YAML file or packaged config; repeatable, later ones win")
_DATA = Option("--data", "CLASS", "datamodule, by class name or import path")
_DEVICE = (
    Option("--trainer.accelerator", "NAME", "cpu, gpu, ...", "auto"),
    Option("--trainer.devices", "N", "how many devices", "auto"),
)
_ROOT = Option("--data.root", "FOLDER", "the raw release")
_TABLE = Option("--data.table", "FOLDER", "the prepared table; made from the release if absent")
_BATCH = Option("--data.batch_size", "N", "images per device and step", "8")
_SEED = Option("--seed_everything", "N", "seed of everything random", "42")
_RATE = Option("--model.lr", "RATE", "learning rate", "0.0001")
_FROM_CHECKPOINT = Option(
    "--ckpt_path",
    "FILE",
    "says which model and data to build too; last: the newest",
)
_OUT = Option("--trainer.default_root_dir", "FOLDER", "where logs and results go, instead of logs")

GUIDES: Mapping[str, Guide] = {
    "fit": Guide(
        "Train a model. Prompts are simulated: a first box or point, then corrections.",
        (
            _CONFIG,
            _DATA,
            _ROOT,
            _TABLE,
            _BATCH,
            Option("--data.num_workers", "N", "loader processes per device", "2"),
            _RATE,
            Option("--model.sam_checkpoint", "auto|none|FILE", "weights for the ViT", "auto"),
            Option("--model.cnn_weights", "imagenet|none", "weights for the CNN", "imagenet"),
            Option("--trainer.max_epochs", "N", "how long to train"),
            *_DEVICE,
            Option("--trainer.precision", "NAME", "32-true, bf16-mixed or 16-mixed", "32-true"),
            Option("--ckpt_path", "FILE", "resume this run; last: the newest, if any"),
            _SEED,
        ),
        (
            "syncsam fit --config demo.yaml",
            "syncsam fit --config resnet34_samed.yaml --data.root SA-Med2D-20M \\\n"
            "      --trainer.devices 1 --trainer.accelerator cpu --trainer.strategy auto "
            "--data.batch_size 2",
        ),
    ),
    "validate": Guide(
        "Measure a model on the validation split (DSC and IoU at the original resolution).",
        (_FROM_CHECKPOINT, _CONFIG, _DATA, _ROOT, _TABLE, _BATCH, *_DEVICE),
        ("syncsam validate --ckpt_path logs/resnet34_samed/version_0/checkpoints/best.ckpt",),
    ),
    "test": Guide(
        "Measure a model on the test split under every protocol and write its report.",
        (_FROM_CHECKPOINT, _CONFIG, _DATA, _ROOT, _TABLE, _BATCH, *_DEVICE, _OUT),
        (
            "syncsam test --ckpt_path best.ckpt",
            "syncsam test --ckpt_path best.ckpt --data MaskFolder --data.root my_images",
            "syncsam test --ckpt_path best.ckpt --config zero_shot.yaml --data.root releases",
        ),
    ),
    "predict": Guide(
        "Write a model's masks to files. With a PATH: of images, NIfTI volumes, DICOM series and\n"
        "folders of these, prompted by you (`syncsam predict PATH --help` lists its options).\n"
        "Without: of the images of a prepared table, prompted from their masks:",
        (_FROM_CHECKPOINT, _CONFIG, _DATA, _ROOT, _TABLE, _BATCH, *_DEVICE, _OUT),
        (
            "syncsam predict image.png --ckpt_path best.ckpt --box 30,40,90,110",
            "syncsam predict scan.nii.gz --ckpt_path best.ckpt --slice 40 --box 30,40,90,110",
            "syncsam predict folder --ckpt_path best.ckpt --prompts prompts.csv --output masks",
            "syncsam predict --ckpt_path best.ckpt --data MaskFolder --data.root my_images",
        ),
    ),
}
"""The guide of each Lightning command."""


def guide(command: str) -> str:
    """Return the one-screen help of a Lightning command.

    Args:
        command: one of :data:`TRAINER_COMMANDS`.
    """
    content = GUIDES[command]
    lines = [f"usage: syncsam {command} [--config FILE] [options]", "", content.purpose, ""]
    lines += ["options:", *_option_lines(content.options), ""]
    lines += ["packaged configs:", *_config_lines(), ""]
    installed = f"installed datamodules: {', '.join(datamodule_names()) or 'none'}"
    lines += [*textwrap.wrap(installed, _WIDTH, subsequent_indent="  "), ""]
    lines += ["examples:", *(f"  {example}" for example in content.examples), ""]
    lines += [
        "more:",
        f"  syncsam {command} --help_all            every option of trainer, model and callbacks",
        f"  syncsam {command} --data.help CLASS     every option of a datamodule",
        f"  syncsam {command} ... --print_config    the complete settings of this run, as YAML",
    ]
    return "\n".join(lines)


def _option_lines(options: tuple[Option, ...]) -> list[str]:
    heads = [f"  {option.name} {option.value}" for option in options]
    width = max(map(len, heads)) + 2
    defaults = [f" (default: {option.default})" if option.default else "" for option in options]
    return [
        f"{head:<{width}}{option.text}{default}"
        for head, option, default in zip(heads, options, defaults, strict=True)
    ]


def _config_lines() -> list[str]:
    listed = listed_configs()
    width = max(map(len, listed), default=0) + 2
    return [f"  {name:<{width}}{summary}" for name, summary in listed.items()]
