"""What a program's branches depend on, read off its jaxpr."""

import jax
import jax.extend


def branch_conditions(function, *arguments):
    """The shape of the condition of every branch (`run_if`), those inside others included.

    () where all members share it; with a condition for each member, all pay while one is due. A
    branch is told from a search by what its loop carries first, which is a boolean.
    """
    return _conditions(jax.make_jaxpr(function)(*arguments).jaxpr)


def _conditions(jaxpr):
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            first = equation.params["body_jaxpr"].jaxpr.outvars[0].aval
            found += [first.shape] if first.dtype == bool else []
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            found += _conditions(inner)
    return found
