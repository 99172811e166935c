"""What training minimises."""

from syncsam_lightning.losses.prompt_loss import LossTerms, PromptLoss

__all__ = ["LossTerms", "PromptLoss"]
