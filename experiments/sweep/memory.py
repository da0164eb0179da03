"""Estimates how many members fit into memory: what each needs, and what is free."""

import sys
from pathlib import Path
from typing import NamedTuple

import jax

from dsrl_jax.agents.costs import expected_cost
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import Experiment
from experiments.cli.summary import storage

# The share of the free memory to use: the compiler adds buffers, and other processes need some.
_SHARE = 0.8
# An update needs a gradient, and about its state again (`bench scale`, scratch): weights, two
# moments, a target, a mask.
_BYTES_IN_AN_UPDATE = 4 + 4 * 4 + 1
# Bytes of a simulator with its model; each member has one, and one for each evaluation episode.
_ENVIRONMENT = 2e6


class Needed(NamedTuple):
    """Expected bytes of one member while it trains, on the host and on the device."""

    host: float
    device: float


class Free(NamedTuple):
    """Free bytes; None if the system does not report them.

    device: of all devices together that may share members; each has an equal part
    devices: how many; 1 on a CPU, whose devices have the host's memory
    """

    host: float | None
    device: float | None
    devices: int = 1


def needed(experiment: Experiment, spaces: Spaces) -> Needed:
    """Returns what one member of an experiment needs; on a CPU all of it is the host's memory."""
    cost = expected_cost(spaces, experiment.agent_of(0), 1)
    members = len(experiment.seeds)
    networks = cost.dense_weights * _BYTES_IN_AN_UPDATE
    stored = storage(experiment, spaces, cost)[0] / members
    if experiment.brax:
        found = Needed(0, stored + networks)
    else:
        # `storage` counts the replay, which is on the host, and the networks.
        replay = storage(experiment, spaces, cost._replace(dense_weights=0))[0] / members
        environments = _ENVIRONMENT * (1 + experiment.loop.eval_episodes)
        found = Needed(replay + environments, stored - replay + networks)
    if jax.default_backend() == "cpu":
        return Needed(sum(found), 0)
    return found


def free(experiment: Experiment) -> Free:
    """Returns the free memory; assumes that every device has only as much as the fullest one."""
    if jax.default_backend() == "cpu":
        return Free(_free_on_host(), None)
    devices = jax.devices() if experiment.brax else jax.devices()[:1]
    found = [device.memory_stats() or {} for device in devices]
    known = all("bytes_limit" in each for each in found)
    least = min(each["bytes_limit"] - each["bytes_in_use"] for each in found) if known else None
    room = None if least is None else least * len(devices)
    return Free(_free_on_host(), room, len(devices))


def most_members(each: Needed, there: Free) -> int | None:
    """Returns how many members fit, at least one; None if no memory is known."""
    rooms = (there.host, there.device)
    pairs = [(part, room) for part, room in zip(each, rooms, strict=True) if part and room]
    fitting = [int(_SHARE * room / part) for part, room in pairs if room is not None]
    return max(min(fitting), 1) if fitting else None


def describe(each: Needed, there: Free) -> str:
    """Returns the estimate in words."""
    found = []
    device = "device" if there.devices == 1 else f"{there.devices} devices"
    rooms = (("host", there.host), (device, there.device))
    for (name, room), part in zip(rooms, each, strict=True):
        if part:
            of = "" if room is None else f" of {room / 1e6:,.0f} MB free"
            found.append(f"about {part / 1e6:,.1f} MB a member on the {name}{of}")
    return ", ".join(found)


def _free_on_host() -> float | None:
    """Returns the memory that the system and this process's control group leave, on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    found = []
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            found.append(1024.0 * int(line.split()[1]))
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            found.append(float(limit) - float((group / "memory.current").read_text()))
    except (OSError, ValueError):  # No control group: only the system's memory counts.
        pass
    return max(min(found), 0.0) if found else None
