"""What agents take and give: transitions in, actions out. No environment is known here."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Bool, Float

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.settings import is_number
from dsrl_jax.config.sparsity import SparseConfig

Metrics = dict[str, Array]
State = Any


class Spaces(NamedTuple):
    """Sizes and bounds of an environment; hashable, static."""

    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]

    @property
    def action_size(self) -> int:
        """Dimensions of an action."""
        return len(self.action_low)


class Transition(NamedTuple):
    """A batch of transitions. A time limit is no termination: the target bootstraps through it."""

    observation: Float[Array, "batch observation"]
    action: Float[Array, "batch action"]  # in the environment's own units
    reward: Float[Array, " batch"]
    terminated: Float[Array, " batch"]  # 1 where the episode ended by its own rules
    next_observation: Float[Array, "batch observation"]


class Adaptation(NamedTuple):
    """Whether an update adapts the topologies.

    Booleans of Python's where its number is one, which leave no branch in what is compiled; else
    arrays of shape (), not batched.

    due: whether it does
    grows: whether what it drops grows elsewhere
    """

    due: bool | Bool[Array, ""]
    grows: bool | Bool[Array, ""]


class Agent(NamedTuple):
    """An algorithm as pure functions of one member; `vmap` them over members.

    init: (key, config) -> state
    explore: (key, config, state, observation) -> action, with noise
    act: (config, state, observation) -> action, deterministic
    update: (key, config, state, batch, step, adaptation=None) -> (state, metrics); `step` counts
      from 1, is shared by all members and not batched; `adaptation`: where the caller knows it
    find_adaptation: (config, step) -> Adaptation
    metrics: the names of what `update` reports
    """

    init: Callable[..., State]
    explore: Callable[..., Array]
    act: Callable[..., Array]
    update: Callable[..., tuple[State, Metrics]]
    find_adaptation: Callable[..., Adaptation]
    metrics: tuple[str, ...]


def _is_data(field: dataclasses.Field) -> bool:
    """Numbers that may be traced, or None in their place, and the config inside another one."""
    return is_number(field) or field.type is SparseConfig


for _config in (SparseConfig, TD3Config, SACConfig):
    _fields = dataclasses.fields(_config)
    jax.tree_util.register_dataclass(
        _config,
        data_fields=[field.name for field in _fields if _is_data(field)],
        meta_fields=[field.name for field in _fields if not _is_data(field)],
    )
