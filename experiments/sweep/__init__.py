"""Sweeps: many members as few compiled programs: python -m experiments.sweep."""
