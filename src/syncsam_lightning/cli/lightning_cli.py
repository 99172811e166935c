"""`syncsam fit|validate|test|predict`: LightningCLI with our model, data and defaults."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
)

from syncsam_lightning import __version__
from syncsam_lightning.cli.arguments import config_values
from syncsam_lightning.cli.catalog import resolve_config
from syncsam_lightning.cli.checkpoint_config import with_checkpoint_config
from syncsam_lightning.cli.defaults import CALLBACK_DEFAULTS, CALLBACKS, trainer_defaults
from syncsam_lightning.cli.explain import Choices, UsageError, explain, innermost
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.cli.links import LINKS, NETWORK
from syncsam_lightning.cli.newest_checkpoint import with_newest_checkpoint
from syncsam_lightning.cli.parser import ConfigFile, Parser, ParserMessage
from syncsam_lightning.cli.run_config import RUN_CONFIG, SaveRunConfig
from syncsam_lightning.cli.run_folders import checkpoint_folders, output_root
from syncsam_lightning.cli.seeds import SEED, with_seeds
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.mixture import Mixture
from syncsam_lightning.data.plugins import load_datamodules
from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.training.lost_processes import RANK_TIMEOUT, limit_waiting
from syncsam_lightning.training.module import InteractiveSegmentation
from syncsam_lightning.training.speed import check_precision
from syncsam_lightning.training.strategies import check_strategy


class SyncSAMCLI(LightningCLI):
    """LightningCLI for :class:`InteractiveSegmentation` and the installed datamodules.

    What differs from the stock class: configs are found by bare name; a checkpoint alone rebuilds
    model and data, and the user's options win over it; how images reach it follows the network;
    errors are single sentences (:class:`syncsam_lightning.errors.SyncSAMError`).

    Args:
        args: command and options, without the program's name.
    """

    def __init__(self, args: Sequence[str]) -> None:
        given = GivenSettings(args)
        name = _run_name(args) if config_values(args) else None
        self._args = with_newest_checkpoint(args, *checkpoint_folders(given, name))
        load_datamodules()  # before the parser is built, which then knows their names
        configs = map(resolve_config, config_values(args))
        super().__init__(
            InteractiveSegmentation,
            StreamingDataModule,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={
                "overwrite": True,
                "config_filename": RUN_CONFIG,
                "inputs": tuple(path for path in configs if _is_file(path)),
            },
            trainer_defaults=trainer_defaults(output_root(given), _run_name(args)),
            seed_everything_default=SEED,
            parser_class=Parser,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=self._args,
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Build the parser of the program or of one command."""
        kwargs.setdefault("dump_header", [f"syncsam-lightning=={__version__}"])
        parser = self.parser_class(**kwargs)
        parser.allow_abbrev = False  # a misspelt option must not count as the start of another
        parser.add_argument(
            "-c",
            "--config",
            action=ConfigFile,
            help="A YAML file or the name of a packaged config. Repeatable; later ones win.",
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks that every run has, and let the network decide how images reach it."""
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)
        parser.set_defaults(dict(CALLBACK_DEFAULTS))
        parser.add_argument(
            "--rank_timeout",
            type=PositiveInt,
            default=RANK_TIMEOUT,
            help="Seconds that ranks wait for each other before they give up.",
        )
        for link in LINKS:
            parser.link_arguments(link.source_key, link.target_key, compute_fn=link.compute)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, with the settings of a checkpoint in front where one is to be rebuilt.

        Raises:
            SyncSAMError: the arguments can't be understood or contradict each other.
        """
        link_targets = [link.target.rpartition(".")[2] for link in LINKS]
        args = with_checkpoint_config(self._args, link_targets)
        given = GivenSettings(args)
        args = with_seeds(args, given, _known(StreamingDataModule))
        try:
            self.config = parser.parse_args(args)
        except ParserMessage as message:
            raise explain(str(message), given, self._choices()) from message
        self._check_links(given)
        self._check_monitor()

    def _parse_ckpt_path(self) -> None:
        # Stock Lightning would let the checkpoint's settings win over the user's here.
        return

    def _check_links(self, given: GivenSettings) -> None:
        for link in LINKS:
            derived = self.config[self._args[0]].get(link.target_key)
            explicit = given.value(link.target)
            if derived is not None and explicit is not None and explicit != derived:
                raise UsageError(
                    f"{link.target} is {explicit} but follows from {link.source}, which "
                    f"{link.says} {derived}: leave {link.target} out, or set {link.source}"
                )

    def _check_monitor(self) -> None:
        config = self.config[self._args[0]]
        monitor, batches = config["checkpoint"]["monitor"], config["trainer"]["limit_val_batches"]
        if self._args[0] == "fit" and batches == 0 and (monitor or "").startswith("val/"):
            raise UsageError(
                f"checkpoint.monitor is {monitor}, which is never computed since "
                "trainer.limit_val_batches is 0: add --checkpoint.monitor null"
            )

    def _choices(self) -> Choices:
        parser = self._subcommand_parsers[self._args[0]]
        groups = {"trainer": Trainer, "model": InteractiveSegmentation, **CALLBACKS}
        return Choices(
            groups=groups,
            keys=[action.dest for action in parser._actions],
            classes={"data": _known_data(), NETWORK: _known(PromptableModel)},
            broken_plugins=[f"{name} ({why})" for name, why in load_datamodules()[1].items()],
        )

    def fit(self, model: LightningModule, **kwargs: Any) -> None:
        """Run ``syncsam fit``.

        Raises:
            UsageError: settings of the Trainer and of the episode exclude each other.
        """
        try:
            self.trainer.fit(model, **kwargs)
        except (MisconfigurationException, ValueError) as error:
            if isinstance(error, ValueError) and not _is_from_lightning(error):
                raise
            raise UsageError(" ".join(str(error).split())) from error

    def predict(self, model: LightningModule, **kwargs: Any) -> None:
        """Run ``syncsam predict``: masks go to files and are not kept in memory."""
        self.trainer.predict(model, **{**kwargs, "return_predictions": False})

    def before_instantiate_classes(self) -> None:
        """Limit how long ranks wait for each other, before the Trainer makes its strategy.

        Raises:
            UnsupportedPrecisionError: the weights would not be float32.
            UnsupportedStrategyError: the strategy splits the weights over ranks.
        """
        config = self.config[self._args[0]]
        if isinstance(strategy := config["trainer"]["strategy"], str):
            check_strategy(strategy)  # without a GPU, Lightning would refuse it for that
        check_precision(config["trainer"]["precision"])
        limit_waiting(config["rank_timeout"])

    def instantiate_classes(self) -> None:
        """Build model, data and Trainer; settings that they refuse are the user's to mend.

        Raises:
            UsageError: one of them refused its settings.
        """
        try:
            super().instantiate_classes()
        except (ValueError, MisconfigurationException) as error:
            raise UsageError(str(innermost(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the Trainer; without a logger there is nothing to write learning rates to."""
        trainer = super().instantiate_trainer(**kwargs)
        if not trainer.loggers:
            callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
            callbacks[:] = [c for c in callbacks if not isinstance(c, LearningRateMonitor)]
        return trainer


def _run_name(args: Sequence[str]) -> str:
    for value in reversed(config_values(args)):
        path = resolve_config(value)
        if _is_file(path):
            return Path(path).stem
    return args[0]


def _is_file(config: str) -> bool:
    inline = config == "-" or config.lstrip().startswith("{") or "\n" in config
    return not inline and Path(config).is_file()


def _is_from_lightning(error: BaseException) -> bool:
    """Tell whether Lightning itself raised an error, about settings that exclude each other."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and f"{os.sep}lightning{os.sep}pytorch{os.sep}" in frames[-1].filename


def _known(base: type) -> dict[str, type]:
    """Return the classes that a config may name for ``base``, by their short names."""
    return {cls.__name__: cls for cls in _subclasses(base) if not inspect.isabstract(cls)}


def _known_data() -> dict[str, type]:
    return {**_known(PromptableDataModule), Mixture.__name__: Mixture}


def _subclasses(cls: type[Any]) -> Iterator[type]:
    children: list[type] = cls.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)
