"""How tests of whole runs start them, compare rows, read transitions and count compilations."""

import collections
import contextlib
import logging
import re

import jax
import numpy as np

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.envs import brax
from dsrl_jax.training import loop
from dsrl_jax.training.device import backend as device_backend
from dsrl_jax.training.device.program import compile_device_program
from dsrl_jax.training.host import backend as host_backend
from dsrl_jax.training.loop import never
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.program import compile_program

TOYS = "tests.toy_environments:"
NAMES = ("transitions.f32", "finals.f32")
OBSERVATION = 2  # of every environment in toy_environments.py
SPACES = Spaces(OBSERVATION, (-1.0,), (1.0,))  # of all but one


class Programs:
    """Compiles the programs of equal agents and members once, as in one process."""

    def __init__(self, wrap=lambda agent: agent):
        self.wrap, self.programs = wrap, {}

    def take(self, experiment):
        """Returns the program, and that of the device or None."""
        varied = tuple(experiment.varied.items())
        key = (experiment.agent, experiment.seeds, varied, experiment.freeze_nonfinite)
        key += (experiment.env, experiment.loop, experiment.brax) if experiment.brax else ()
        if key not in self.programs:
            program = compile_program(
                self.wrap(AGENTS[type(experiment.agent)](SPACES)),
                config_of_members(experiment),
                SPACES,
                experiment.seeds,
                freeze_nonfinite=experiment.freeze_nonfinite,
            )
            device = None
            if experiment.brax:
                device = compile_device_program(experiment, brax.make(experiment.env), SPACES)
            self.programs[key] = program, device
        return self.programs[key]

    def run(self, experiment, directory=None, stop=never):
        """Starts a run in a toy environment."""
        program, device = self.take(experiment)
        given = (experiment, SPACES, program)
        if device:
            backend = device_backend.make_backend(*given, device, directory)
        else:
            backend = host_backend.make_backend(*given, directory)
        return loop.train(experiment, backend, stop)


def comparable(rows, *kinds, after=-1):
    """Returns rows of some kinds, without clock times, as text so that NaN equals NaN."""
    kinds = kinds or ("training", "evaluation", "topology")
    return [repr(row) for row in rows if row["kind"] in kinds and row["env_step"] > after]


def read_replay(directory, members, steps):
    """Returns observations, actions, rewards, terminated, ended [steps, members, …]; finals."""
    transitions, finals = (np.fromfile(directory / "replay" / name, np.float32) for name in NAMES)
    records = transitions.reshape(steps, members, -1)
    flags = np.moveaxis(records[..., -3:], -1, 0)
    columns = (records[..., :OBSERVATION], records[..., OBSERVATION:-3], *flags)
    return *columns, finals.reshape(-1, OBSERVATION)


def replay_bytes(directory):
    """Returns the bytes of the two files."""
    return [(directory / "replay" / name).read_bytes() for name in NAMES]


@contextlib.contextmanager
def compiled_functions(caplog):
    """Counts how often each function is compiled in the block, by name; filled when it ends."""
    caplog.clear()
    count = collections.Counter()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        yield count
    messages = " ".join(record.getMessage() for record in caplog.records)
    count.update(re.findall(r"Finished XLA compilation of jit\((\w+)\)", messages))
