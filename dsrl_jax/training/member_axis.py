"""The axis of members: functions over it, and settings in which members differ."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrl_jax.config.presets import Experiment
from dsrl_jax.config.settings import override
from dsrl_jax.training.devices import Placement, place


def config_of_members(experiment: Experiment) -> Any:
    """Returns the agent's settings, with an array [members] if members differ in a number."""
    if len(experiment.seeds) == 1:
        return experiment.agent_of(0)
    varied = {name: np.array(values, float) for name, values in experiment.varied.items()}
    return override(experiment.agent, varied)


def axes_of(config: Any) -> Any:
    """Returns the axes of a config for `over_members`: 0 for numbers in which members differ."""
    numbers, tree = jax.tree.flatten(config)
    if not any(jnp.ndim(number) for number in numbers):
        return None
    return jax.tree.unflatten(tree, [0 if jnp.ndim(number) else None for number in numbers])


def place_config(placement: Placement, config: Any) -> Any:
    """Places numbers in which members differ with their members, and the others on all devices."""
    return jax.tree.map(
        lambda number: place(placement, jnp.asarray(number), shared=not jnp.ndim(number)), config
    )


def over_members(
    function: Callable[..., Any], in_axes: tuple[Any, ...], members: int
) -> Callable[..., Any]:
    """Maps a function over members; a single member runs unbatched, which is faster on a CPU.

    Args:
      in_axes: for each argument 0, None, or the `axes_of` a config.
    """
    if members > 1:
        return jax.vmap(function, in_axes)

    def of_one(*arguments: Any) -> Any:
        first = map(_first, arguments, in_axes)
        return jax.tree.map(lambda leaf: leaf[None], function(*first))

    return of_one


def _first(argument: Any, axes: Any) -> Any:
    """Returns the first member's part of an argument of `over_members`."""
    if axes is None:
        return argument
    if axes == 0:
        return jax.tree.map(lambda leaf: leaf[0], argument)
    numbers, tree = jax.tree.flatten(argument)
    return jax.tree.unflatten(tree, [leaf[0] if jnp.ndim(leaf) else leaf for leaf in numbers])
