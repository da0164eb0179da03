"""Finds sorts in a program's text."""

import re

import jax


def sorts(function, *arguments):
    """Returns whether the traced program, or the program before compilation, sorts."""
    traced = jax.jit(function).trace(*arguments)
    return says_sort(f"{traced.jaxpr}\n{traced.lower().as_text()}")


def says_sort(program):
    """Returns whether the text of a jaxpr, of StableHLO or of a compiled program names a sort."""
    return bool(re.search(r"\bsort\b|top_?k", program, re.IGNORECASE))
