"""The paper's figures and tables as data, each number with its source.

This file has what the figures vary; `dsrl_jax.config.presets` has the settings of a method on a
task. Needs no JAX.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.tasks import PAPER_NAMES

# Section 4.2.
TASKS = tuple(PAPER_NAMES)
# Section 4.6: the task of all of its analyses.
ANALYSED = ("halfcheetah",)
# Section 4.4: "over 5 seeds"; it does not say which.
SEEDS = (0, 1, 2, 3, 4)
# Section 4.4: "1 million time steps".
STEPS = LoopConfig.steps
# Figure 3: "two dense policies" and "two sparse policies", one for each length, which all agents
# share. The paper does not name their seed; this one differs from the agents' seeds.
POLICY_SEED = 5
# Figures 3a and 3b: steps for which the policies are trained (Section 4.6).
POLICY_STEPS = (500_000, 700_000)
# Figure 2a: e, the steps between adaptations.
PERIODS = (200, 500, 1000, 2000)
# Figure 2b: λ1 and λ2 by sparsity in percent; the paper only names the percentages. HalfCheetah
# keeps 831 λ1 + 1536 λ2 + 2048 of 214,784 weights (eq. 1): 161,138, 106,169 (Section 4.4's λ) and
# 42,740.
SPARSITY_LAMBDAS = {25: (14.0, 96.0), 50: (7.0, 64.0), 80: (12.0, 20.0)}

_NONE: Mapping[str, Any] = MappingProxyType({})


class Variant(NamedTuple):
    """A curve of a figure: a method with the settings that the figure varies."""

    label: str
    algo: str
    source: str
    preset: str = "paper"
    settings: Mapping[str, Any] = _NONE
    # Training steps of the policy that makes the first transitions, with the same method; None: the
    # first actions are random.
    policy_steps: int | None = None


class Figure(NamedTuple):
    """Curves that are reproduced together, and the tables that are made from them."""

    title: str
    tasks: tuple[str, ...]
    variants: tuple[Variant, ...]


_SECTION = "Section 4.1 and 4.4"
_DENSE = Variant("TD3", "td3", _SECTION)
_SPARSE = Variant("DS-TD3", "ds_td3", _SECTION)


def _schedule(period: int) -> Variant:
    return Variant(
        f"DS-TD3, e = {period}", "ds_td3", "Figure 2a", settings={"adaptation_period": period}
    )


def _sparsity(percent: int) -> Variant:
    lambdas = dict(zip(("lambda1", "lambda2"), SPARSITY_LAMBDAS[percent], strict=True))
    return Variant(f"DS-TD3, sparsity {percent} %", "ds_td3", "Figure 2b, eq. 1", settings=lambdas)


def _from_policy(variant: Variant, steps: int) -> Variant:
    """Returns agents that start from a policy of the same method (Section 4.6)."""
    return variant._replace(source="Section 4.6 and Figure 3", policy_steps=steps)


FIGURES = {
    "fig1": Figure(
        "Figure 1, Tables 1 and 2: TD3, Static-TD3, DS-TD3 and SAC",
        TASKS,
        (
            _DENSE,
            Variant("Static-TD3", "static_td3", _SECTION),
            _SPARSE,
            Variant("SAC", "sac", "Section 4.4: tau 0.005, target update interval 1", "figure1"),
        ),
    ),
    "costs": Figure("Section 4.6, memory and computation costs", ANALYSED, ()),
    "fig2a": Figure(
        "Figure 2a: adaptation schedules",
        ANALYSED,
        (*map(_schedule, PERIODS), _DENSE),
    ),
    "fig2b": Figure(
        "Figure 2b: sparsity levels",
        ANALYSED,
        (_DENSE, *map(_sparsity, SPARSITY_LAMBDAS)),
    ),
    "fig3a": Figure(
        "Figure 3a: from samples of policies trained for 500,000 steps",
        ANALYSED,
        (_from_policy(_DENSE, POLICY_STEPS[0]), _from_policy(_SPARSE, POLICY_STEPS[0])),
    ),
    "fig3b": Figure(
        "Figure 3b: from samples of policies trained for 700,000 steps",
        ANALYSED,
        (_from_policy(_DENSE, POLICY_STEPS[1]), _from_policy(_SPARSE, POLICY_STEPS[1])),
    ),
    "fig4": Figure(
        "Figure 4, Tables 4 and 5: SAC and DS-SAC",
        TASKS,
        (Variant("SAC", "sac", "Appendix A"), Variant("DS-SAC", "ds_sac", "Appendix A, Table 3")),
    ),
}

# Further names, by the figures that they stand for.
GROUPS = {
    "table1": ("fig1",),
    "table2": ("fig1",),
    "table4": ("fig4",),
    "table5": ("fig4",),
    "fig2": ("fig2a", "fig2b"),
    "fig3": ("fig3a", "fig3b"),
    "all": tuple(FIGURES),
}
