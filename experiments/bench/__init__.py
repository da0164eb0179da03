"""Benchmarks that compare sides measured in turn in one run: python -m experiments.bench."""

from experiments.bench.command import BENCHMARKS, main

__all__ = ["BENCHMARKS", "main"]
