"""Measuring models: scores per mask, prompt files, reports and pictures."""
