"""The LightningModule: a promptable model, a simulated user and a loss."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from torch import Tensor, nn

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.errors import NothingToTrainError
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.evaluation.prompt_file import RecordedPrompts
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.hub import find_weights
from syncsam_lightning.interaction import TrainingEpisode, get_protocol
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.metrics import SurfaceMetrics
from syncsam_lightning.models import PromptableModel, frozen_checksum
from syncsam_lightning.models.weights.pretrained import PretrainedWeights
from syncsam_lightning.models.weights.slim_checkpoint import leave_frozen_out, put_frozen_back
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.training.callbacks.damage import DamagedRows
from syncsam_lightning.training.callbacks.no_validation import NoValidation
from syncsam_lightning.training.callbacks.shared_patients import SharedPatients
from syncsam_lightning.training.checkpoint import LoadedAsValues
from syncsam_lightning.training.frame import check_frame
from syncsam_lightning.training.gradients import backward_over_ranks
from syncsam_lightning.training.non_finite import NonFiniteGuard
from syncsam_lightning.training.optimization import adam_with_schedules
from syncsam_lightning.training.other_network import settings_named
from syncsam_lightning.training.outcome import EvaluationOutcome
from syncsam_lightning.training.run_record import write_run_record
from syncsam_lightning.training.schedules import (
    EpisodeLoss,
    joint_loss,
    mean_of_rounds,
    per_round_losses,
)
from syncsam_lightning.training.speed import (
    NO_BACKEND,
    MatmulPrecision,
    check_backend,
    check_matmul_precision,
    set_matmul_precision,
)
from syncsam_lightning.training.strategies import check_strategy

log = logging.getLogger(__name__)

_SKIPPED = "skipped_steps"

Evaluations = dict[str, BatchEvaluation]
"""What the protocols gave on a batch with the first seed, by name; what evaluation steps return to
callbacks."""


class InteractiveSegmentation(LoadedAsValues, LightningModule):  # type: ignore[misc]
    """Trains a promptable model by simulated clicks and boxes, and measures it.

    Optimisation as published: Adam, 1e-4, halved at epochs 5 and 10 (the predecessor's schedule).

    Args:
        network: the model.
        episode: how training simulates a user.
        loss: of a round; None: 20 · Dice + Focal.
        lr: learning rate of Adam.
        lr_milestones: epochs at which it is multiplied by ``lr_gamma``.
        lr_gamma: factor at the milestones.
        max_skipped_steps: steps among any 1000 that may be skipped because their gradients are not
            finite, before the run ends.
        warmup_steps: batches over which the rate first rises, linearly from ``lr / warmup_steps``.
            The published schedule has none; a decoder that starts from scratch needs it.
        sam_checkpoint: where SAM's weights come from: ``auto`` (cache, else the official address),
            a path, or ``none`` for random ones, for trying things out.
        cnn_weights: ``imagenet`` starts the CNN branch from torchvision's weights.
        weights: the network's own weights: a file in any layout that its class knows, such as the
            official ones of MedSAM and SAM-Med2D; a folder that ``syncsam export safetensors``
            wrote, or a hub's repository of that kind, ``OWNER/NAME``; or ``auto`` for SAM's file.
            They are loaded over the others where a run has no ``ckpt_path``: to test them, or to
            train on from them.
        protocols: what ``test`` measures. One that needs prompts which the network does not take is
            reported as not supported, unless that is true of all.
        val_protocols: what validation measures; ``val/dice`` is the mean over them.
        predict_protocol: how ``predict`` prompts.
        eval_seeds: of the simulated clicks. ``test`` plays every protocol that draws clicks with
            each; validation and ``predict`` with the first.
        surface_metrics: whether ``test`` also measures HD95 and NSD, which takes MONAI.
        surface_tolerance: of the NSD, in pixels of the original image.
        replay_prompts: a file of recorded prompts for ``test`` and ``predict`` to play again.
        compile: backend of ``torch.compile`` for encoding and decoding, such as ``inductor``, or
            ``none``. The first batches take minutes then, and checkpoints stay the same.
        matmul_precision: of float32 products in the whole process, see :data:`MatmulPrecision`:
            ``high`` for TF32 on a GPU.
        seed: of the decisions that a training episode makes per batch.

    Raises:
        ValueError: a protocol, a backend or a precision is unknown, a protocol is given twice,
            ``eval_seeds`` is empty or holds a seed twice, or ``lr``, ``warmup_steps``,
            ``max_skipped_steps`` or ``surface_tolerance`` is negative.
        MissingPackageError: ``surface_metrics`` is asked for without MONAI.
    """

    def __init__(
        self,
        network: PromptableModel,
        episode: TrainingEpisode | None = None,
        loss: PromptLoss | None = None,
        *,
        lr: float = 1e-4,
        lr_milestones: Sequence[int] = (5, 10),
        lr_gamma: float = 0.5,
        max_skipped_steps: int = 20,
        warmup_steps: int = 0,
        sam_checkpoint: str = "auto",
        cnn_weights: Literal["imagenet", "none"] = "imagenet",
        weights: str | None = None,
        protocols: Sequence[str] = ("box", "1pt", "5pts"),
        val_protocols: Sequence[str] = ("box",),
        predict_protocol: str = "box",
        eval_seeds: Sequence[int] = (0,),
        surface_metrics: bool = False,
        surface_tolerance: float = 2.0,
        replay_prompts: str | None = None,
        compile: str = NO_BACKEND,
        matmul_precision: MatmulPrecision = "unchanged",
        seed: int = 0,
    ) -> None:
        super().__init__()
        # Hyperparameters go into checkpoints, which must load with weights_only: plain values only.
        lr, lr_gamma, sam_checkpoint = float(lr), float(lr_gamma), os.fspath(sam_checkpoint)
        replay_prompts = None if replay_prompts is None else os.fspath(replay_prompts)
        weights = None if weights is None else os.fspath(weights)
        # From a config, plain values of all arguments are stored; live objects never are.
        from_config = _given_hyperparameters.get() is not None
        self.save_hyperparameters(ignore=[] if from_config else ["network", "episode", "loss"])
        self.network = network
        self.episode = episode or TrainingEpisode()
        self.loss = loss or PromptLoss()
        if not 0 <= lr < torch.inf:  # 0 leaves the weights as they are
            raise ValueError(f"lr must be a finite number of 0 or more, got {lr}")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more, got {warmup_steps}")
        check_backend(compile)
        check_matmul_precision(matmul_precision)
        self.lr, self.lr_milestones, self.lr_gamma = lr, list(lr_milestones), lr_gamma
        self.warmup_steps = warmup_steps
        whole = None if weights == "none" else weights
        self.pretrained = PretrainedWeights(sam_checkpoint, cnn_weights, whole, find=find_weights)
        replay = None if replay_prompts is None else RecordedPrompts(replay_prompts)
        surface = SurfaceMetrics(surface_tolerance) if surface_metrics else None
        first, played = eval_seeds[:1], [get_protocol(name) for name in protocols]
        self.evaluators = {
            "validate": Evaluator([get_protocol(name) for name in val_protocols], first),
            "test": Evaluator(played, eval_seeds, replay, surface),
            "predict": Evaluator([get_protocol(predict_protocol)], first, replay),
        }
        self.backend, self.matmul_precision = compile, matmul_precision
        self.seed = seed
        self.guard = NonFiniteGuard(max_skipped_steps)
        self.automatic_optimization = self.episode.schedule == "joint"
        self.outcome = EvaluationOutcome()
        self._checksum: str | None = None
        self._begun = False
        self._has_frozen_weights = False

    # Weights

    def _is_untrained(self) -> bool:
        # A module that was trained or loaded before goes on from there.
        return self.trainer.ckpt_path is None and not self._begun

    def prepare_data(self) -> None:
        """Fetch pretrained weights once per machine, before any rank needs them."""
        untrained = self._is_untrained()
        begins = untrained and self.trainer.state.fn == "fit"
        self.pretrained.fetch(self.network, begins=begins, untrained=untrained)

    def setup(self, stage: str) -> None:
        """Load pretrained weights: frozen ones always, others only into an untrained network.

        Raises:
            ValueError: the datamodule brings images into another frame than the network's.
            NothingToTrainError: every part of the network is frozen.
            UnsupportedStrategyError: the Trainer's strategy splits the weights over ranks.
        """
        if stage == "fit":
            check_strategy(self.trainer.strategy)
            self._take_feedback_of_training()
            self._trained_parameters()  # on several ranks, DDP would refuse in words of its own
        check_frame(self.network, getattr(self.trainer, "datamodule", None))
        set_matmul_precision(self.matmul_precision)
        untrained = self._is_untrained()
        self._load_pretrained(begins=untrained and stage == "fit", untrained=untrained)
        self._begun = self._begun or stage == "fit"
        if self.backend != NO_BACKEND:
            self.network.compile_parts(backend=self.backend)

    def _take_feedback_of_training(self) -> None:
        """Measure as was trained: a network gets its answers back as the episodes gave them."""
        spec = self.network.input_spec
        self.network.input_spec = replace(spec, feedback=self.episode.feedback)

    def on_validation_start(self) -> None:
        """Warn if the weights are without training; only now a checkpoint has been restored."""
        if not self._begun and self.pretrained.whole is None:
            log.warning(
                "neither ckpt_path nor weights is given: what follows is about weights without "
                "training"
            )

    on_test_start = on_predict_start = on_validation_start

    def _load_pretrained(self, *, begins: bool, untrained: bool) -> None:
        if begins or not self._has_frozen_weights:
            self.pretrained.load(self.network, begins=begins, untrained=untrained)
            self._checksum = frozen_checksum(self.network)
            self._has_frozen_weights = True

    @property
    def checksum(self) -> str:
        """SHA-256 of the frozen weights, computed once: they don't change."""
        if self._checksum is None:
            self._checksum = frozen_checksum(self.network)
        return self._checksum

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the frozen weights out; note which steps were skipped."""
        checkpoint[_SKIPPED] = self.guard.state_dict()
        leave_frozen_out(checkpoint, self.network, prefix="network.", checksum=self.checksum)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the frozen weights back, if they are those it was trained on."""
        # `load_from_checkpoint` comes here without `setup`.
        self._load_pretrained(begins=False, untrained=False)
        self._begun = True
        self._take_feedback_of_training()
        self.guard.load_state_dict(checkpoint.get(_SKIPPED, {}))
        with settings_named(checkpoint, self.network):
            put_frozen_back(checkpoint, self.network, prefix="network.", checksum=self.checksum)

    # Training

    def configure_callbacks(self) -> list[Callback]:
        """Return what every run tells: damaged rows, missing validation, shared patients."""
        return [DamagedRows(), NoValidation(), SharedPatients()]

    def on_fit_start(self) -> None:
        """Keep Lightning from warning of frozen parts in eval mode, where they belong."""
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")

    def _trained_parameters(self) -> list[nn.Parameter]:
        if trained := [p for p in self.parameters() if p.requires_grad]:
            return trained
        whole = f"every part of {type(self.network).__name__} is frozen"
        remedy = "measure it with syncsam test, or freeze less (model.network.frozen)"
        raise NothingToTrainError(f"{whole}, so there is nothing to fit: {remedy}")

    def configure_optimizers(self) -> Any:
        """Return Adam over the trained parameters, with its schedules.

        Raises:
            NothingToTrainError: every part of the network is frozen.
        """
        return adam_with_schedules(
            self._trained_parameters(),
            lr=self.lr,
            milestones=self.lr_milestones,
            gamma=self.lr_gamma,
            warmup_steps=self.warmup_steps,
            # fp16's gradient scaler does not let gradients be clipped before a fused step.
            fused=self.trainer.precision != "16-mixed",
        )

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor | None:
        """Play one episode on a batch."""
        # The same on every rank, so that all prompt alike and take equally long.
        policy = self.episode.policy(stable_key("batch", self.seed, self.current_epoch, batch_idx))
        images = [info.id for info in batch.infos]
        if self.automatic_optimization:
            self.guard.begin(self.network)
            losses = joint_loss(self.network, self.loss, batch, policy)
            self.guard.add_loss(losses.total, images)
            self._log_losses(losses, batch)
            return losses.total
        optimizer = self.optimizers()
        rounds = []
        self.guard.begin(self.network)
        for terms in per_round_losses(self.network, self.loss, batch, policy):
            self.guard.add_loss(terms.total, images)
            optimizer.zero_grad()  # type: ignore[union-attr]
            backward_over_ranks(self, terms.total)
            optimizer.step()  # type: ignore[union-attr]
            rounds.append(terms)
            self.guard.begin(self.network)
        for warmup in self._schedules()[1:]:
            warmup.step()
        self._log_losses(mean_of_rounds(rounds), batch)
        return None

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop gradients that are not finite.

        Raises:
            NonFiniteLossError: too many steps had such.
        """
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        self.guard.check(parameters, self.global_step)

    def on_train_epoch_end(self) -> None:
        """Step the schedule, where optimisation is not automatic."""
        if not self.automatic_optimization:
            self._schedules()[0].step()

    def _schedules(self) -> list[Any]:
        """Return the schedule by epoch, then the warm-up if there is one."""
        found = self.lr_schedulers()
        return found if isinstance(found, list) else [found]

    def _log_losses(self, losses: EpisodeLoss, batch: ImageBatch) -> None:
        self.log("train/loss", losses.total, prog_bar=True, batch_size=batch.num_images)
        parts = {"train/dice_loss": losses.dice, "train/focal_loss": losses.focal}
        self.log_dict(parts, batch_size=batch.num_images)

    # Evaluation

    def _evaluate(self, batch: ImageBatch, stage: str) -> list[BatchEvaluation]:
        return self.evaluators[stage].evaluate(self.network, batch)

    def _reset_outcome(self, stage: str) -> None:
        evaluator = self.evaluators[stage]
        if unsupported := evaluator.unsupported(self.network):
            log.warning(
                "%s does not take the prompts of %s, which will not be played",
                type(self.network).__name__,
                ", ".join(protocol.name for protocol in unsupported),
            )
        played = dict.fromkeys(protocol for protocol, _ in evaluator.plays(self.network))
        self.outcome.reset(self, list(played))

    def on_validation_epoch_start(self) -> None:
        """Forget earlier scores."""
        self._reset_outcome("validate")

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> Evaluations:
        """Measure a batch under the validation protocols."""
        return self._measure(batch, "validate")

    def on_validation_epoch_end(self) -> None:
        """Log ``val/dice`` and its parts."""
        self._log_outcome("val")

    def on_test_epoch_start(self) -> None:
        """Forget earlier scores."""
        self._reset_outcome("test")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> Evaluations:
        """Measure a batch under the test protocols."""
        return self._measure(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log the means, and write scores, prompts, report and where they are from."""
        self._log_outcome("test")
        evaluator = self.evaluators["test"]
        folder = Path(self.trainer.log_dir or self.trainer.default_root_dir) / "test"
        unsupported = [protocol.name for protocol in evaluator.unsupported(self.network)]
        self.outcome.write(self.trainer, folder, unsupported=unsupported)
        if self.trainer.is_global_zero:
            write_run_record(folder, self.trainer, self.network, evaluator)

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Evaluations:
        """Predict the masks of a batch; what is done with them is up to callbacks."""
        return _of_first_seed(self._evaluate(batch, "predict"))

    def _measure(self, batch: ImageBatch, stage: str) -> Evaluations:
        evaluations = self._evaluate(batch, stage)
        self.outcome.add(evaluations, self.network.input_spec)
        return _of_first_seed(evaluations)

    def _log_outcome(self, stage: Literal["val", "test"]) -> None:
        means: Mapping[str, float] = self.outcome.means()
        for name, value in means.items():
            # Computed from sums over all ranks, hence equal on all: nothing is left to reduce.
            self.log(f"{stage}/{name}", value, prog_bar=name == "dice", rank_zero_only=False)


def _of_first_seed(evaluations: Sequence[BatchEvaluation]) -> Evaluations:
    shown: Evaluations = {}
    for evaluation in evaluations:
        shown.setdefault(evaluation.protocol.name, evaluation)
    return shown
