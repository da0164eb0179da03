"""An experiment's member to train without an environment, in one scan or by a call a step."""

from functools import partial

import jax
import numpy as np

from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Agent, Spaces
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.presets import Experiment
from dsrl_jax.envs import catalog
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.program import Program, compile_program, unpack
from experiments.bench.measure import Side, timed
from experiments.bench.workload import compile_scan, scan_side

STORED = 10_000  # transitions in a replay that is sampled from


class Trainee:
    """One member of an experiment, and a replay with random transitions to train it on."""

    def __init__(self, experiment: Experiment):
        self.config: AgentConfig = experiment.agent
        self.spaces = Spaces(*catalog.look_up_sizes(experiment.env))
        self.agent: Agent = AGENTS[type(self.config)](self.spaces)
        self.seeds = experiment.seeds
        self.program: Program = compile_program(self.agent, self.config, self.spaces, self.seeds)
        self.replay = random_replay(self.spaces, self.seeds)
        # The first update measured comes after an adaptation, which gives targets something to
        # lose (Algorithm 3).
        self.first_update = self.config.sparse.adaptation_period

    def scan_side(self, steps: int) -> Side:
        """A side that makes `steps` updates in one call, on batches of the replay; it goes on."""
        batches = [self.replay.sample(self.config.batch_size, step)[0] for step in range(steps)]
        packed = jax.device_put(np.stack(batches))
        read = partial(unpack, spaces=self.spaces)
        return scan_side(compile_scan(self.config, steps, 1, self.spaces, packed, read))

    def call_side(self, steps: int) -> Side:
        """A side that samples, updates and reads the next action `steps` times; it goes on."""
        carry, update = self.program.compact(self.program.init()), self.first_update
        observation = np.zeros((len(self.seeds), self.spaces.observation_size), np.float32)

        def run() -> None:
            nonlocal carry, update
            for _ in range(steps):
                packed = self.replay.sample(self.config.batch_size, update)
                carry, action = self.program.step(
                    carry, packed, observation, np.int32(update), np.int32(update + 1)
                )
                np.array(action)
                update += 1

        run()
        return timed(run)


def random_replay(spaces: Spaces, seeds: tuple[int, ...], stored: int = STORED) -> Replay:
    """A replay with `stored` transitions of one endless episode."""
    replay = Replay(seeds, stored, spaces.observation_size, spaces.action_size)
    draw, members = np.random.default_rng(0), len(seeds)
    never = np.zeros(members, bool)
    following = draw.normal(size=(members, spaces.observation_size))
    for _ in range(stored):
        observation, following = following, draw.normal(size=following.shape)
        action = draw.uniform(spaces.action_low, spaces.action_high, (members, spaces.action_size))
        replay.add(observation, action, draw.normal(size=members), never, never, following)
    return replay
