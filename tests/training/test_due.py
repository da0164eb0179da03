"""What is due after a step: by periods, at the end, and where a run is stopped."""

import itertools

import pytest

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.training.due import Due, find_due

LOOP = LoopConfig(steps=10, log_period=2, eval_period=3, checkpoint_period=4)


def goes_on():
    return False


@pytest.mark.parametrize(
    "env_step, due",
    [
        (1, Due(logged=False, evaluated=False, saved=False, stops=False)),
        (2, Due(logged=True, evaluated=False, saved=False, stops=False)),
        (3, Due(logged=False, evaluated=True, saved=False, stops=False)),
        (4, Due(logged=True, evaluated=False, saved=True, stops=False)),
        (6, Due(logged=True, evaluated=True, saved=False, stops=False)),
        (10, Due(logged=True, evaluated=True, saved=True, stops=False)),
    ],
)
def test_each_period_has_its_steps_and_the_last_step_all_of_them(env_step, due):
    assert find_due(LOOP, env_step, goes_on) == due


def test_a_run_that_stops_saves_and_logs_nothing_for_it():
    assert find_due(LOOP, 1, lambda: True) == Due(False, False, saved=True, stops=True)


def test_it_asks_once_a_step_but_not_after_the_last():
    asked = itertools.count()
    for env_step in range(1, LOOP.steps + 1):
        find_due(LOOP, env_step, lambda: next(asked) < 0)
    assert next(asked) == LOOP.steps - 1
