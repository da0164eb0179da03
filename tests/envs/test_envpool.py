"""EnvPool as an environment like any other; and the preset v3 compared to its -v3 tasks."""

import itertools
import os

import numpy as np
import pytest

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import resolve
from dsrl_jax.envs import catalog, envpool
from dsrl_jax.envs import gymnasium as environments
from dsrl_jax.training.host.backend import make_backend
from dsrl_jax.training.loop import never, train
from tests.envs.refusal import refusal
from tests.envs.v3_tasks import (
    FALLING,
    TASKS,
    check_always_zero,
    check_falls,
    check_reward,
    random_steps,
)
from tests.training.numpy_program import numpy_program
from tests.training.runs import replay_bytes

pytest.importorskip("envpool")

# How many leading positions the observation leaves out, and how many positions there are.
POSITIONS = {
    "halfcheetah": (1, 9),
    "hopper": (1, 6),
    "walker2d": (1, 9),
    "ant": (2, 15),
    "humanoid": (2, 24),
}
OPEN_THREADS = "/proc/self/task"


def make(alias):
    return envpool.make(envpool.resolve_id(alias, "v3"))


def make_preset(alias):
    return environments.make(environments.resolve_id(alias, "v3"), "v3")


def fall(environment):
    """Steps without a force until the episode ends; returns how many steps, and the last one."""
    still = np.zeros(environment.action_space.shape, np.float32)
    for count in range(1, 1001):
        step = environment.step(still)
        if step[2] or step[3]:
            return count, step
    raise AssertionError("the episode does not end")


# Names.


@pytest.mark.parametrize(
    ("name", "env_preset", "task_id"),
    [
        ("ant", "v5", "Ant-v5"),
        ("ant", "v3", "Ant-v3"),
        ("halfcheetah", "v3", "HalfCheetah-v3"),
        ("walker2d", "v3", "Walker2d-v3"),
        ("Hopper-v3", "v5", "Hopper-v3"),
        ("Humanoid-v4", "v5", "Humanoid-v4"),
    ],
)
def test_names_mean_envpools_tasks(name, env_preset, task_id):
    assert envpool.resolve_id(name, env_preset) == task_id
    envpool.make(task_id).close()


@pytest.mark.parametrize(("name", "near"), [("Ant-v33", "Ant-v3"), ("walker", "walker2d")])
def test_an_unknown_name_raises_and_names_near_ones(name, near):
    message = refusal(envpool.resolve_id, name)
    assert repr(name) in message and near in message.split("did you mean ")[1]


def test_what_cannot_be_made_raises():
    assert "Hopper-v3" in refusal(envpool.make, "hopper-v3").split("did you mean ")[1]
    assert "must be a flat Box, got Discrete" in refusal(envpool.make, "FrozenLake-v1")
    assert "'Ant-v3'" in refusal(envpool.resolve_id, "Ant-v3", "v3")
    assert "'v4'" in refusal(envpool.resolve_id, "ant", "v4")


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_envpool_cannot_take_raises(seed):
    assert str(seed) in refusal(make("hopper").reset, seed=seed)


# Episodes.


def test_an_episode_follows_from_its_seed_and_actions():
    environment, other = make("hopper"), make("hopper")
    first, _ = environment.reset(seed=3)
    length, last = fall(environment)
    environment.reset(seed=4)
    fall(environment)
    for again in (environment, other):
        np.testing.assert_array_equal(again.reset(seed=3)[0], first)
        again_length, again_last = fall(again)
        assert again_length == length and again_last[1:4] == last[1:4]
        np.testing.assert_array_equal(again_last[0], last[0])
    assert not np.array_equal(environment.reset(seed=4)[0], first)


def test_resets_after_a_seed_start_as_consecutive_episodes_do():
    environment = make("hopper")
    starts = [environment.reset(seed=7)[0], *(environment.reset()[0] for _ in range(3))]
    assert len({tuple(start) for start in starts}) == 4
    environment.reset(seed=7)
    for start in starts[1:]:
        fall(environment)
        np.testing.assert_array_equal(environment.reset()[0], start)


def test_an_episode_may_start_without_any_seed():
    environment = make("hopper")
    observation, _ = environment.reset()
    assert observation in environment.observation_space
    assert not np.array_equal(observation, make("hopper").reset()[0])


def test_no_step_runs_into_the_next_episode():
    environment = make("hopper")
    still = np.zeros(3, np.float32)
    with pytest.raises(RuntimeError):
        environment.step(still)
    environment.reset(seed=0)
    fall(environment)
    with pytest.raises(RuntimeError):
        environment.step(still)
    environment.reset()
    assert environment.step(still)[4]["elapsed_step"] == 1


def test_values_are_those_of_one_environment():
    environment = make("ant")
    environment.reset(seed=0)
    observation, reward, terminated, truncated, info = environment.step(np.zeros(8, np.float32))
    assert observation in environment.observation_space and type(reward) is float
    assert terminated is False and truncated is False
    assert all(np.ndim(value) == 0 for value in info.values())


def test_the_time_limit_truncates_and_a_fall_on_the_last_step_is_still_a_fall():
    environment = make("hopper")
    assert environment.time_limit == 1000
    environment.reset(seed=0)
    length, (*_, terminated, truncated, _) = fall(environment)
    assert (terminated, truncated) == (True, False)
    for limit, expected in ((length - 1, (False, True)), (length, (True, True))):
        environment.time_limit = limit
        environment.reset(seed=0)
        count, (*_, terminated, truncated, _) = fall(environment)
        assert (count, terminated, truncated) == (limit, *expected)


@pytest.mark.skipif(not os.path.isdir(OPEN_THREADS), reason="threads are counted on Linux")
def test_threads_end_with_their_pool():
    environment, threads = make("hopper"), []
    before = len(os.listdir(OPEN_THREADS))
    for seed in range(10):
        environment.reset(seed=seed)
        threads.append(len(os.listdir(OPEN_THREADS)))
    assert max(threads) == threads[0] > before
    environment.close()
    assert len(os.listdir(OPEN_THREADS)) == before


# EnvPool's -v3 tasks, and the preset v3 compared to them.


@pytest.mark.parametrize("alias", TASKS)
def test_spaces_are_those_of_the_preset(alias):
    simulated, preset = make(alias), make_preset(alias)
    assert simulated.observation_space == preset.observation_space
    for bound in ("low", "high"):
        ours, theirs = (getattr(task.action_space, bound) for task in (preset, simulated))
        np.testing.assert_array_equal(ours, theirs.astype(np.float32))
    assert preset.spec.max_episode_steps == simulated.time_limit


@pytest.mark.parametrize("alias", TASKS)
def test_random_steps_obey_v3(alias):
    steps = random_steps(make(alias), 300)
    assert steps.terminated.any() == (alias in FALLING)
    check_always_zero(TASKS[alias], steps)
    check_reward(TASKS[alias], steps)
    check_falls(TASKS[alias], steps)


@pytest.mark.parametrize("alias", TASKS)
def test_the_preset_steps_as_envpool_does(alias):
    """From one start and by the same actions: until rounding errors have grown, or to the fall."""
    simulated, preset = make(alias), make_preset(alias)
    start, _ = simulated.reset(seed=5)
    preset.reset(seed=0)
    left_out, positions = POSITIONS[alias]
    here, speeds = positions - left_out, preset.unwrapped.data.qvel.size
    state = np.concatenate([np.zeros(left_out), start[:here]]), start[here : here + speeds]
    preset.unwrapped.set_state(*state)
    rng, space = np.random.default_rng(0), preset.action_space
    for _ in range(40):
        action = rng.uniform(space.low, space.high).astype(np.float32)
        theirs, ours = simulated.step(action), preset.step(action)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3, atol=1e-3)
        assert ours[1] == pytest.approx(theirs[1], abs=1e-3)
        assert ours[2] == theirs[2]
        if ours[2]:
            break
    simulated.close()
    preset.close()


# A run.


def test_a_stopped_run_continues_exactly(tmp_path):
    """EnvPool cannot set a state back; the actions of an episode, played again, lead there."""
    settings = {"start_steps": 30, "steps": 60, "log_period": 20, "checkpoint_period": 20}
    settings |= {"eval_period": 60, "eval_episodes": 1, "batch_size": 8}
    experiment = resolve("Hopper-v4", "td3", backend="envpool", seeds=(0, 3), settings=settings)
    spaces = Spaces(*catalog.look_up_sizes(experiment.env, "v5", "envpool"))

    def run(directory, stop=never):
        program = numpy_program(spaces, experiment.seeds)
        backend = make_backend(experiment, spaces, program, directory)
        return list(train(experiment, backend, stop))

    run(tmp_path / "whole")
    asked = itertools.cycle([False] * 13 + [True])
    ends = ["stopped"]
    while ends[-1] == "stopped":
        ends.append(run(tmp_path / "stopped", lambda: next(asked))[-1]["kind"])
    assert len(ends) > 4
    assert replay_bytes(tmp_path / "stopped") == replay_bytes(tmp_path / "whole")
