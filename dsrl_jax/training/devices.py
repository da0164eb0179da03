"""Members over several devices, of one process or of several.

An array of members is split along its first axis. Each device runs the compiled functions for its
own members and needs nothing from the others: a branch that one device takes costs the others
nothing. Its results are bit-identical to a run of only its members on one device, and equal up to
rounding to a run of all members on one device.

If several processes train one run, all of them call the functions of this file in the same order;
`fetch` returns the same on each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsrl_jax.config.members import count_sharing

AXIS = "members"


class Placement(NamedTuple):
    """How members are placed, in order; `mesh` is None if all are on the default device."""

    members: int
    mesh: Mesh | None = None

    @property
    def each(self) -> int:
        """The number of members on each device."""
        return self.members // (self.mesh.size if self.mesh else 1)


def choose_placement(members: int, devices: int | None = None) -> Placement:
    """Shares members evenly among devices.

    Args:
      devices: how many; None: as many as can share the members evenly.
    Raises:
      ValueError: if there are fewer devices, or they cannot share evenly, or several processes
        leave one out: each process needs members.
    """
    all_devices = jax.devices()
    if devices is None and jax.process_count() == 1:
        devices = count_sharing(members, len(all_devices))
    devices = len(all_devices) if devices is None else devices
    if not 1 <= devices <= len(all_devices):
        raise ValueError(
            f"devices must be from 1 to the {len(all_devices)} there are, got {devices}"
        )
    if jax.process_count() > 1 and devices != len(all_devices):
        raise ValueError(
            f"several processes use all {len(all_devices)} devices, got devices {devices}"
        )
    if members % devices:
        raise ValueError(
            f"{members} seeds cannot be shared evenly among {devices} devices: "
            f"choose a multiple of {devices}, or devices that divide {members}"
        )
    if devices == 1:
        return Placement(members)
    return Placement(members, Mesh(np.array(all_devices[:devices]), (AXIS,)))


def spread(
    placement: Placement, function: Callable[..., Any], in_axes: tuple[Any, ...]
) -> Callable[..., Any]:
    """Runs a function of `placement.each` members on every device for its part.

    Args:
      in_axes: for each argument 0 if its leaves have a first axis of members, None if all members
        share it, or a tree of these; every result has such an axis.
    """
    if placement.mesh is None:
        return function
    specs = jax.tree.map(
        lambda axis: PartitionSpec() if axis is None else PartitionSpec(AXIS),
        in_axes,
        is_leaf=lambda axis: axis is None,
    )
    return jax.shard_map(
        function,
        mesh=placement.mesh,
        in_specs=specs,
        out_specs=PartitionSpec(AXIS),
        check_vma=False,  # Loops begin with constants, which vary on no device.
    )


def compile_on(
    placement: Placement,
    function: Callable[..., Any],
    in_axes: tuple[Any, ...],
    *bound: Any,
    **options: Any,
) -> Callable[..., Any]:
    """Compiles a function as `spread` runs it and binds its first arguments.

    Args:
      options: of `jax.jit`.
    """
    return partial(jax.jit(spread(placement, function, in_axes), **options), *bound)


def place(placement: Placement, tree: Any, *, shared: bool = False) -> Any:
    """Places arrays as `spread` takes and returns them; others would compile a program again.

    Args:
      shared: whether every device gets all of it; else leaves have a first axis of members.
    """
    if placement.mesh is None:
        return jax.device_put(tree)
    spec = PartitionSpec() if shared else PartitionSpec(AXIS)
    sharding = NamedSharding(placement.mesh, spec)
    return jax.tree.map(partial(_place_leaf, sharding), tree)


def _place_leaf(sharding: NamedSharding, leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
        return leaf
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place_leaf(sharding, jax.random.key_data(leaf)))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda part: values[part])


def fetch(tree: Any) -> Any:
    """Returns NumPy arrays of all members, on every process; they may share the device's memory."""
    return jax.tree.map(_fetch_leaf, tree)


def _fetch_leaf(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    return np.asarray(leaf)


def share(tree: Any) -> Any:
    """Returns the first process's NumPy arrays on every process; shapes and dtypes agree."""
    return multihost_utils.broadcast_one_to_all(tree)


def is_first_process() -> bool:
    """Returns whether this process is the one that writes."""
    return jax.process_index() == 0


def agreed(ask: Callable[[], bool]) -> Callable[[], bool]:
    """Returns a function that is true on all processes once `ask` is true on any of them.

    A signal may reach one process before the others.
    """
    if jax.process_count() == 1:
        return ask
    return lambda: bool(np.any(multihost_utils.process_allgather(np.array(ask()))))
