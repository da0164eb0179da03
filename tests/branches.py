"""Finds the branches of a program, in its jaxpr and in what XLA compiles."""

import re

import jax
import jax.extend


def branch_conditions(function, *arguments):
    """Returns the shape of the condition of every `lax.cond`, including those inside others.

    Each is (): `vmap` turns a branch with one condition per member into a select, which is not
    listed, and with which all members pay whenever one is due.
    """
    return _conditions(jax.make_jaxpr(function)(*arguments).jaxpr)


def _conditions(jaxpr):
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond":
            found.append(equation.invars[0].aval.shape)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            found += _conditions(inner)
    return found


def compiled_branches(compiled):
    """Counts the conditionals of a compiled program (`jax.stages.Compiled`)."""
    return len(re.findall(r"\bconditional\(", compiled.as_text()))
