"""Checkpoints: whose layout they have, where they come from, how they fit a model."""
