"""Who prompts a model, and how the turns go: training episodes, protocols, replays, people."""

from syncsam_lightning.interaction.episode import TrainingEpisode
from syncsam_lightning.interaction.feedback import Feedback, dense_prompt, predicted_masks
from syncsam_lightning.interaction.plan import EpisodePlan
from syncsam_lightning.interaction.protocols import (
    PROTOCOLS,
    Averaging,
    EvaluationProtocol,
    MaskRule,
    Unit,
    get_protocol,
)
from syncsam_lightning.interaction.replay import ReplayPolicy
from syncsam_lightning.interaction.rounds import Policy, Round, play_round, run_rounds
from syncsam_lightning.interaction.session import InteractiveSession
from syncsam_lightning.interaction.simulated_user import SimulatedUser
from syncsam_lightning.interaction.unpadded import decode_unpadded

__all__ = [
    "PROTOCOLS",
    "Averaging",
    "EpisodePlan",
    "EvaluationProtocol",
    "Feedback",
    "InteractiveSession",
    "MaskRule",
    "Policy",
    "ReplayPolicy",
    "Round",
    "SimulatedUser",
    "TrainingEpisode",
    "Unit",
    "decode_unpadded",
    "dense_prompt",
    "get_protocol",
    "play_round",
    "predicted_masks",
    "run_rounds",
]
