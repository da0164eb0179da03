"""What an update does, told beforehand: the same numbers without a branch."""

from functools import partial

import jax
import numpy as np
import pytest

from dsrl_jax.agents.sparsity import find_due
from tests.agents.cases import MODULES, PERIOD, SPACES, first_state, random_batch, small_config
from tests.branches import branch_conditions

# Of each agent: updates of every kind; the third adapts.
STEPS = {"td3": (1, 2, PERIOD), "sac": (1, 4, PERIOD)}


@pytest.mark.parametrize("agent", STEPS)
def test_an_update_that_is_told_what_is_due_is_the_same_without_branches(agent, key, rng):
    config = small_config(agent=agent)
    update = partial(MODULES[type(config)].update, SPACES)
    state, batch = first_state(key, config), random_batch(rng)
    plain = jax.jit(update)
    for step in STEPS[agent]:
        due = find_due(config, step)
        assert all(isinstance(flag, bool) for flag in due)
        given = key, config, state, batch, np.int32(step)
        assert branch_conditions(partial(update, due=due), *given) == []
        assert len(branch_conditions(update, *given)) > 0
        found, metrics = jax.jit(partial(update, due=due))(*given)
        expected, expected_metrics = plain(*given)
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, (found, metrics), (expected, expected_metrics))
        for net in ("actor", "critic"):
            masks = (getattr(one, net).masks for one in (found, expected))
            jax.tree.map(np.testing.assert_array_equal, *masks)
        state = expected


def test_what_is_due():
    config = small_config(policy_delay=5)
    assert find_due(config, 1) == (False, True, False, False)
    assert find_due(config, 5) == (False, True, True, True)
    assert find_due(config, 2 * PERIOD) == (True, True, True, True)
    assert find_due(small_config(agent="sac"), 4) == (False, True, True, True)
    official = small_config("official")
    assert find_due(official, 112)[:2] == (True, True)
    assert find_due(official, 122)[:2] == (True, False)
    assert find_due(official, 132)[:2] == (False, False)
