"""A stand-in for the compiled program: nothing is compiled, and everything depends on everything.

An action follows from the observation, the step and the state; the state from every batch. So a
loop that passes one wrong number anywhere ends with other actions.
"""

from functools import partial

import numpy as np

from dsrl_jax.agents.diagnostics import LayerTopology
from dsrl_jax.training.devices import Placement
from dsrl_jax.training.program import Program
from dsrl_jax.training.update import Carry


class Recorder:
    """Records what a program is called with and what it returns, in order."""

    def __init__(self):
        self.updates, self.env_steps, self.batches, self.actions = [], [], [], []


def numpy_program(spaces, seeds, recorder=None):
    """Returns a program whose members never mix: each computes what it would compute alone."""
    recorder = recorder or Recorder()
    explore = partial(_explore, spaces, recorder)
    return Program(
        init=partial(_init, seeds),
        act=partial(_act, spaces),
        explore=explore,
        step=partial(_step, recorder, explore),
        connections=partial(_connections, seeds),
        masks=np.array,  # The state is one number a member: its copy is both masks and policy.
        inspect=_inspect,
        policy=np.array,
        placement=Placement(len(seeds)),
    )


def _init(seeds):
    zeros = np.zeros(len(seeds), np.float32)
    return Carry(np.float32(seeds), {"loss": zeros}, np.zeros(len(seeds), np.int32))


def _act(spaces, state, observations):
    total = observations.sum(axis=-1)
    return _bounded(spaces, total + _per_member(state, total))


def _explore(spaces, recorder, state, observation, env_step):
    action = _bounded(spaces, 7 * observation.sum(axis=-1) + np.asarray(state) + env_step)
    recorder.actions.append(action)
    return action


def _step(recorder, explore, carry, packed, observation, update, env_step):
    assert packed.dtype == observation.dtype == np.float32
    recorder.updates.append(int(update))
    recorder.env_steps.append(int(env_step))
    recorder.batches.append(packed.copy())
    loss = np.float32([batch.sum() for batch in packed])
    state = np.sin(np.asarray(carry.state) + loss + np.float32(update))
    sums = {"loss": np.asarray(carry.sums["loss"]) + loss}
    return Carry(state, sums, np.asarray(carry.bad_update)), explore(state, observation, env_step)


def _connections(seeds, state):
    return {"actor": np.full(len(seeds), 5), "critics": np.full(len(seeds), 12)}


def _bounded(spaces, values):
    """Maps values [members, …] to actions [members, …, k] within the bounds."""
    low, high = np.float32(spaces.action_low), np.float32(spaces.action_high)
    shares = (np.sin(values[..., None] + np.arange(len(low))) + 1) / 2
    return np.clip(low + shares * (high - low), low, high).astype(np.float32)


def _inspect(state, first, earlier, packed):
    members = len(packed)
    layer = LayerTopology(
        connections=np.full(members, 5),
        churn=np.asarray(state) - earlier,
        overlap=first,
        units=np.full(members, 8),
        units_without_input=np.ones(members, int),
        units_inactive=(100 * np.abs(packed).sum(axis=(1, 2))).astype(int),
        dormant_units=np.full(members, 2),
        input_degrees=np.tile(np.arange(3), (members, 1)),
    )
    return {"actor": {"hidden_0": layer, "output": layer}}


def _per_member(state, values):
    return np.reshape(np.asarray(state), (-1,) + (1,) * (values.ndim - 1))
