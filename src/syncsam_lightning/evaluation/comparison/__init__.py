"""Evaluated models side by side: paired scores, tests, tables and drawings; needs no torch."""
