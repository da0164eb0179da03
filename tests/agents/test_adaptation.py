"""Whether an update adapts, told beforehand: the same numbers without that branch."""

from functools import partial

import jax
import numpy as np
import pytest

from dsrl_jax.agents.sparse_training import find_adaptation
from tests.agents.cases import MODULES, PERIOD, SPACES, first_state, random_batch, small_config
from tests.branches import branch_conditions


@pytest.mark.parametrize("agent", ["td3", "sac"])
def test_an_update_that_is_told_whether_it_adapts_is_the_same_without_that_branch(agent, key, rng):
    config = small_config(agent=agent)
    update = partial(MODULES[type(config)].update, SPACES)
    state, batch = first_state(key, config), random_batch(rng)
    plain = jax.jit(update)
    for step in (1, 2, PERIOD):
        adaptation = find_adaptation(config, step)
        assert adaptation == (step == PERIOD, True)
        assert all(isinstance(flag, bool) for flag in adaptation)
        told = partial(update, adaptation=adaptation)
        given = key, config, state, batch, np.int32(step)
        branches = len(branch_conditions(update, *given))
        assert len(branch_conditions(told, *given)) == branches - len(("actor", "critics"))
        found, metrics = jax.jit(told)(*given)
        expected, expected_metrics = plain(*given)
        close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, (found, metrics), (expected, expected_metrics))
        for net in ("actor", "critic"):
            masks = (getattr(one, net).masks for one in (found, expected))
            jax.tree.map(np.testing.assert_array_equal, *masks)
        state = expected


def test_which_updates_adapt():
    config = small_config()
    assert find_adaptation(config, PERIOD - 1) == (False, True)
    assert find_adaptation(config, 2 * PERIOD) == (True, True)
    official = small_config("official")
    assert find_adaptation(official, 112) == (True, True)
    assert find_adaptation(official, 122) == (True, False)
    assert find_adaptation(official, 132) == (False, False)


def test_a_network_that_does_not_change_has_no_update_that_adapts():
    for topology in ("dense", "static"):
        config = small_config(actor_topology=topology, critic_topology=topology)
        assert find_adaptation(config, PERIOD) == (False, False)
    one = small_config(actor_topology="static", critic_topology="dynamic")
    assert find_adaptation(one, PERIOD) == (True, True)
