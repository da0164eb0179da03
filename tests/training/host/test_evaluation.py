"""An evaluation equals episodes played one after the other in one environment."""

import gymnasium
import numpy as np
import pytest

from dsrl_jax.training.host.evaluation import SEED_OFFSET, evaluate

POINT_MASS = "tests.toy_environments:PointMass-v0"
CASES = [
    pytest.param(POINT_MASS, {}, 6, id="point mass"),
    pytest.param("HalfCheetah-v5", {"max_episode_steps": 20}, 3, id="half cheetah"),
]


class Recorded(gymnasium.Wrapper):
    """Remembers each start and counts steps; a step after an episode's end is an error."""

    def __init__(self, environment):
        super().__init__(environment)
        self.starts, self.steps, self.ended = [], 0, True

    def reset(self, **arguments):
        observation, info = super().reset(**arguments)
        self.starts.append(observation)
        self.ended = False
        return observation, info

    def step(self, action):
        assert not self.ended, "stepped after the end of its episode"
        observation, reward, terminated, truncated, info = super().step(action)
        self.steps += 1
        self.ended = terminated or truncated
        return observation, reward, terminated, truncated, info


def policy(environment):
    """Actions of observations, element by element, so that batches give the same to the bit."""
    size = environment.action_space.shape[0]
    return lambda observations: np.sin(3 * observations[..., :size])


def play(environment, seed, episodes):
    """Returns, lengths and starts of consecutive episodes, the first seeded `seed`."""
    act, played = policy(environment), []
    for episode in range(episodes):
        observation, _ = environment.reset(seed=seed if episode == 0 else None)
        start, rewards, ended = observation, [], False
        while not ended:
            action = act(observation.astype(np.float32))
            observation, reward, terminated, truncated, _ = environment.step(action)
            rewards.append(reward)
            ended = terminated or truncated
        played.append((sum(rewards), len(rewards), start))
    return played


def make_all(env_id, arguments, members, episodes):
    return [
        [Recorded(gymnasium.make(env_id, **arguments)) for _ in range(episodes)]
        for _ in range(members)
    ]


@pytest.mark.parametrize(("env_id", "arguments", "episodes"), CASES)
def test_all_at_once_equals_one_after_the_other(env_id, arguments, episodes):
    seeds = (0, 7)
    environments = make_all(env_id, arguments, len(seeds), episodes)
    returns, lengths = evaluate(policy(environments[0][0]), environments, seeds)
    for member, seed in enumerate(seeds):
        played = play(gymnasium.make(env_id, **arguments), seed + SEED_OFFSET, episodes)
        expected_returns, expected_lengths, starts = zip(*played, strict=True)
        np.testing.assert_array_equal(returns[member], expected_returns)
        np.testing.assert_array_equal(lengths[member], expected_lengths)
        for environment, start in zip(environments[member], starts, strict=True):
            np.testing.assert_array_equal(environment.starts[-1], start)


def test_the_authors_offset_is_added_to_the_seed():
    assert SEED_OFFSET == 100  # FACTS.md: "a fresh environment seeded seed + 100"


def test_a_finished_episode_is_not_stepped_again():
    environments = make_all(POINT_MASS, {"max_episode_steps": 30}, 3, 8)
    act = policy(environments[0][0])
    _, lengths = evaluate(act, environments, (0, 1, 2))
    steps = [[environment.steps for environment in row] for row in environments]
    np.testing.assert_array_equal(lengths, steps)
    assert len(np.unique(lengths)) > 3  # They did not all end together.


def test_episodes_end_at_the_time_limit():
    environments = make_all(POINT_MASS, {"max_episode_steps": 2}, 1, 4)
    _, lengths = evaluate(policy(environments[0][0]), environments, (0,))
    np.testing.assert_array_equal(lengths, 2)


def test_every_evaluation_has_the_same_starts():
    environments = make_all(POINT_MASS, {}, 2, 3)
    act = policy(environments[0][0])
    first, second = (evaluate(act, environments, (3, 4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_policy_is_asked_once_a_step_for_all_in_float32():
    asked = []
    environments = make_all(POINT_MASS, {}, 2, 3)
    act = policy(environments[0][0])

    def recording(observations):
        asked.append((observations.dtype, observations.shape))
        return act(observations)

    _, lengths = evaluate(recording, environments, (0, 1))
    assert asked == [(np.float32, (2, 3, 2))] * lengths.max()
