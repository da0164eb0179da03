"""Whether a program sorts, read off its text."""

import re

import jax


def sorts(function, *arguments):
    """Whether it does as it is traced, and as it is given to the compiler."""
    traced = jax.jit(function).trace(*arguments)
    return says_sort(f"{traced.jaxpr}\n{traced.lower().as_text()}")


def says_sort(program):
    """Whether a jaxpr, a program of StableHLO or a compiled one names a sort or a top-k."""
    return bool(re.search(r"\bsort\b|top_?k", program, re.IGNORECASE))
