"""Reproduces the paper's figures and tables: python -m experiments.paper --list."""
