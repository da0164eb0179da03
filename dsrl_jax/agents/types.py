"""Defines the interface of an agent, which learns from transitions and returns actions."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

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
    action: Float[Array, "batch action"]  # in the environment's units
    reward: Float[Array, " batch"]
    terminated: Float[Array, " batch"]  # 1 if the environment ended the episode, else 0
    next_observation: Float[Array, "batch observation"]


class Agent(NamedTuple):
    """An algorithm as pure functions of one member; `vmap` them over members.

    init: (key, config) -> state
    explore: (key, config, state, observation) -> action, with noise
    act: (config, state, observation) -> action, deterministic
    update: (key, config, state, batch, step) -> (state, metrics); `step` counts updates from 1. All
      members share it: batched, it would turn the branches of an update into selects
    metrics: names of the metrics that `update` returns
    """

    init: Callable[..., State]
    explore: Callable[..., Array]
    act: Callable[..., Array]
    update: Callable[..., tuple[State, Metrics]]
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
