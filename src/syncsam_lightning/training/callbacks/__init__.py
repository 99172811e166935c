"""Callbacks: pictures, predictions, throughput, exact resume."""
