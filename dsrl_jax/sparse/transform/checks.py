"""Checks the settings of `sparsify` before tracing, and its trees inside `shard_map`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Int

from dsrl_jax.sparse.arguments import check_choice, is_traced
from dsrl_jax.sparse.distribution import Distribution
from dsrl_jax.sparse.leaves import KERNELS, Density, Layout, Params, named_leaves
from dsrl_jax.sparse.rules import PAPER, Rules, check_rules
from dsrl_jax.sparse.transform.densities import Sparsities, check_sparsities
from dsrl_jax.sparse.transform.schedules import Fraction, Gradual, check_gradual, fraction_at


class Plan(NamedTuple):
    """The settings of `sparsify`; static, except that its numbers may be traced."""

    sparsity: Sparsities | Gradual | None = None
    density: Density | None = None
    distribution: Distribution = "erk"
    rules: Rules = PAPER
    drop_fraction: Fraction | None = None
    period: int = 100
    last_step: int | None = None
    momentum_decay: float = 0.9
    layout: Layout = KERNELS

    @property
    def changes_masks(self) -> bool:
        """Whether any step changes the masks."""
        return isinstance(self.sparsity, Gradual) or self.rules.drop != "nothing"

    def due(self, step: Int[Array, ""]) -> bool | Bool[Array, ""]:
        """Returns whether the masks change after this step; steps count from 1."""
        if isinstance(self.sparsity, Gradual):
            begin, end = self.sparsity.begin, self.sparsity.end
            return (step >= begin) & (step <= end) & ((step - begin) % self.period == 0)
        if not self.changes_masks:
            return False
        due = (step > 0) & (step % self.period == 0)
        return due if self.last_step is None else due & (step <= self.last_step)

    def fraction(self, step: Int[Array, ""]) -> float | Array:
        """Returns the share of connections that an adaptation after this step replaces."""
        return fraction_at(0.3 if self.drop_fraction is None else self.drop_fraction, step)


def check_plan(plan: Plan) -> None:
    """Checks ranges and combinations of the settings, except for traced values.

    Raises:
      ValueError: names the setting, its value and what is allowed.
    """
    if plan.period < 1:
        raise ValueError(f"period must be at least 1, got {plan.period}")
    check_choice("distribution", plan.distribution, Distribution)
    check_rules(plan.rules)
    if plan.rules.grown_weight != "zero":
        raise ValueError(
            f"rules.grown_weight must be 'zero' in sparsify, got {plan.rules.grown_weight!r}; "
            "use SparseNet for other values"
        )
    _check_amount(plan)
    if isinstance(plan.sparsity, Gradual):
        check_gradual(plan.sparsity, plan.period)
    elif plan.sparsity is not None:
        check_sparsities(plan.sparsity)
    if isinstance(plan.sparsity, Gradual) or plan.rules.drop == "nothing":
        for name in ("drop_fraction", "last_step"):
            if getattr(plan, name) is not None:
                raise ValueError(f"{name} has no effect without drop and growth; leave it out")
    last: Any = plan.last_step
    if not (last is None or is_traced(last)) and last < 0:
        raise ValueError(f"last_step must be at least 0, or None for no end, got {last}")
    if not is_traced(plan.momentum_decay) and not 0 <= plan.momentum_decay < 1:
        raise ValueError(f"momentum_decay must be in [0, 1), got {plan.momentum_decay}")
    fraction: Any = plan.drop_fraction
    known = not (fraction is None or callable(fraction) or is_traced(fraction))
    if known and not 0 <= fraction <= 1:
        raise ValueError(f"drop_fraction must be in [0, 1], got {fraction}")


def check_replicated(tree: Params, name: str) -> None:
    """Raises ValueError if, inside `shard_map`, devices have different parts or values."""
    for path, leaf in named_leaves(tree):
        axes = _varying_axes(leaf)
        if axes:
            what = "replicate them" if name == "params" else "average them (jax.lax.pmean)"
            raise ValueError(
                f"{name} must be the same on all devices, got {path or 'a leaf'} that varies "
                f"over {', '.join(sorted(axes))}; {what} before sparsify"
            )


def _varying_axes(leaf: Array) -> frozenset[str]:
    """Returns the mesh axes over which a value differs; older JAX calls them `vma`."""
    kind: Any = jax.typeof(leaf)
    manual = getattr(kind, "manual_axis_type", None)
    return getattr(kind, "vma", frozenset()) if manual is None else manual.varying


def _check_amount(plan: Plan) -> None:
    """Raises ValueError unless exactly one of sparsity, density and N:M groups sets the count."""
    groups = plan.rules.groups
    fixed = groups is not None and groups.connections is not None
    given = [name for name in ("sparsity", "density") if getattr(plan, name) is not None]
    if fixed and given:
        raise ValueError(f"n_of_m groups fix the connections: leave out {' and '.join(given)}")
    if not fixed and len(given) != 1:
        raise ValueError(f"give either sparsity or density, got {' and '.join(given) or 'neither'}")
    if isinstance(plan.sparsity, Gradual) and groups is not None:
        raise ValueError("groups do not go with a Gradual sparsity; give a number")
    if isinstance(plan.sparsity, Gradual) and isinstance(plan.sparsity.final, Mapping):
        raise ValueError("Gradual.final must be a number, got a dictionary")
