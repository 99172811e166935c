"""Datamodule plugins, one file per release."""
