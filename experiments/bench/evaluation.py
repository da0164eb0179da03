"""Seconds of one evaluation of each task, and its share of a run at the paper's protocol."""

from typing import Any, NamedTuple, SupportsFloat

import gymnasium
import numpy as np

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import resolve
from dsrl_jax.envs import catalog
from dsrl_jax.envs.guard import Guarded
from dsrl_jax.training.backend import Backend
from dsrl_jax.training.host.evaluation import evaluate
from dsrl_jax.training.loop import evaluate as evaluate_and_inspect
from dsrl_jax.training.progress import begin
from dsrl_jax.training.update import Carry
from experiments.bench.measure import (
    Report,
    Side,
    in_turn,
    median,
    medians,
    rates,
    spread,
    table,
    timed,
)
from experiments.bench.trainee import Trainee
from experiments.bench.whole_loop import loop_side


def run(
    repetitions: int,
    steps: int,
    episodes: int,
    envs: tuple[str, ...],
    algo: str,
    hidden_sizes: tuple[int, ...],
) -> Report:
    """Measures an evaluation and `steps` steps of the loop of every task in turn."""
    settings = {"hidden_sizes": hidden_sizes}
    sides: dict[tuple[str, str], Side] = {}
    for env in envs:
        env_id = catalog.resolve_id(env)
        sides[env, "evaluation"] = evaluation_side(env_id, algo, episodes, settings)
        sides[env, "loop"] = loop_side(env_id, algo, steps, settings)
    seconds = in_turn(sides, repetitions)
    results: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    rows = []
    for env in envs:
        found, loop = seconds[env, "evaluation"], rates(seconds[env, "loop"], steps)
        share = evaluation_share(median(found), median(loop))
        samples |= {f"{env}_evaluation_seconds": found, f"{env}_loop_steps_per_second": loop}
        results[f"{env}_evaluation_share"] = share
        rows.append([env, *spread(found), *spread(loop)[:1], f"{share:.3f}"])
    head = [f"{algo}, {episodes} episodes", "seconds", "lowest", "highest"]
    head += ["loop steps/s", "share of a run"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def evaluation_share(
    evaluation_seconds: float, steps_per_second: float, loop: LoopConfig | None = None
) -> float:
    """Which part of a run's time goes into evaluations: one every period, and one at step 0."""
    loop = loop or LoopConfig()
    evaluating = (loop.steps // loop.eval_period + 1) * evaluation_seconds
    return evaluating / (evaluating + loop.steps / steps_per_second)


def evaluation_side(env_id: str, algo: str, episodes: int, settings: dict[str, Any]) -> Side:
    """A side that does what a run does at an evaluation; every episode has full length."""
    experiment = resolve(env_id, algo, settings=settings)
    trainee = Trainee(experiment)
    program = trainee.program
    environments: Any = [
        [Guarded(ToTimeLimit(catalog.make(env_id)), env_id) for _ in range(episodes)]
    ]
    state = _State(program.init())
    progress = begin(program, state.carry.state, 1)._replace(env_step=1)

    def act(observations: np.ndarray) -> np.ndarray:
        return np.asarray(program.act(state.carry.state, observations))

    unused: Any = dict.fromkeys(Backend._fields)
    backend = Backend(**unused)._replace(
        program=program,
        evaluate=lambda state, progress: evaluate(act, environments, experiment.seeds),
        sample=lambda state, step: trainee.replay.sample(trainee.config.batch_size, step),
    )

    def run() -> None:
        evaluate_and_inspect(experiment, backend, state, progress)

    run()
    return timed(run)


class _State(NamedTuple):
    carry: Carry


class ToTimeLimit(gymnasium.Wrapper):
    """Ends episodes by their time limit alone, as those of a trained agent end.

    Where one would terminate, the state begins anew; an untrained agent falls at once. That is
    timed too: with a fall at every 17th step, a step took 1.0 (Hopper) to 1.4 times (Humanoid) as
    long as where the fallen body just went on.
    """

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """As the environment's, but never terminated."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated and not truncated:
            observation, _ = self.env.unwrapped.reset()
        return observation, reward, False, truncated, info
