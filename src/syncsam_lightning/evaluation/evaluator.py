"""Several protocols and seeds on one batch, whose images are encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.evaluation.even_parts import encode_evenly
from syncsam_lightning.evaluation.objects import with_unit
from syncsam_lightning.evaluation.prompt_file import RecordedPrompts
from syncsam_lightning.evaluation.runner import BatchEvaluation, evaluate_batch
from syncsam_lightning.interaction import EvaluationProtocol
from syncsam_lightning.metrics import SurfaceMetrics
from syncsam_lightning.models import PromptableModel


@dataclass(frozen=True, slots=True)
class Evaluator:
    """What is measured: protocols, seeds, metrics.

    Args:
        protocols: to be played, in this order.
        seeds: of the simulated clicks; a protocol that draws nothing is played once, as seed 0.
        replay: recorded prompts, to be played instead of simulated ones.
        surface: measures the outlines too; None: they are left out.

    Raises:
        ValueError: no seed is given, or a seed or protocol is given twice.
    """

    protocols: Sequence[EvaluationProtocol]
    seeds: Sequence[int] = (0,)
    replay: RecordedPrompts | None = None
    surface: SurfaceMetrics | None = None

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"eval_seeds must be one or more different numbers, got {list(self.seeds)}"
            )

        names = [protocol.name for protocol in self.protocols]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"protocols holds {', '.join(twice)} twice: give each once")

    def plays(self, model: PromptableModel) -> list[tuple[EvaluationProtocol, int]]:
        """Return the protocols that a model can be prompted by, each with its seeds.

        Raises:
            UnsupportedPromptError: there is none.
        """
        takes = model.input_spec.prompts
        able = [protocol for protocol in self.protocols if protocol.kinds <= takes]
        if self.protocols and not able:
            names = ", ".join(protocol.name for protocol in self.protocols)
            raise UnsupportedPromptError(
                f"{type(model).__name__} takes {', '.join(sorted(takes))} as prompts, which plays "
                f"none of the protocols {names}: choose others"
            )
        return [
            (protocol, seed)
            for protocol in able
            for seed in (self.seeds if protocol.is_random else (0,))
        ]

    def unsupported(self, model: PromptableModel) -> list[EvaluationProtocol]:
        """Return the protocols that need prompts which a model does not take."""
        takes = model.input_spec.prompts
        return [protocol for protocol in self.protocols if not protocol.kinds <= takes]

    def evaluate(self, model: PromptableModel, batch: ImageBatch) -> list[BatchEvaluation]:
        """Play every protocol that the model takes with every seed.

        Args:
            model: in eval mode.
            batch: from an evaluation loader.

        Raises:
            ValueError: the batch has no masks at the original resolution.
            UnsupportedPromptError: the model can be prompted by none of the protocols.
            PromptFileError: the recorded prompts don't fit.
        """
        plays = self.plays(model)
        features = encode_evenly(model, batch.images, batch.targets.sizes)
        spec = model.input_spec
        return [
            evaluate_batch(
                model,
                features,
                batch,
                protocol,
                seed=seed,
                replay=None
                if self.replay is None
                else self.replay.rounds(with_unit(batch, protocol.unit), protocol, spec, seed),
                surface=self.surface,
            )
            for protocol, seed in plays
        ]
