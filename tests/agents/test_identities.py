"""Methods that must agree: sparse TD3 with nothing absent and dense TD3, members and single runs.

And randomness: what is drawn follows from key and step alone.
"""

import dataclasses
from functools import partial

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.agents import td3
from dsrl_jax.agents.config import TD3Config
from tests.agents.cases import (
    FINAL_DROP,
    SPACES,
    UPDATES,
    as_float64,
    first_state,
    history,
    leaves,
    quick_jit,
    random_batch,
    small_config,
    train,
    update,
)


def assert_equal(actual, expected, part=...):
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_array_equal(
            actual[path][part], expected[path][part], err_msg=path, strict=True
        )


# --- Dense, static and dynamic -------------------------------------------------------------------


def compiled_updates(**settings):
    """Every state of a run of 200 updates on the same data.

    Compiled without optimization, each operation rounds by itself, whatever it is fused with:
    programs of different methods agree bit for bit where the methods do.
    """
    batches = random_batch(np.random.default_rng(0), (UPDATES, 5))
    return history(small_config(**settings), jax.random.key(0), batches)


@pytest.mark.parametrize(
    "topology, preset", [("static", "paper"), ("dynamic", "paper"), ("dynamic", "official")]
)
def test_with_all_connections_it_is_dense_td3_bit_for_bit(topology, preset):
    """A full layer has no room to grow, hence drops nothing, but for the official final drop."""
    part = slice(FINAL_DROP if preset == "official" else None)
    states = compiled_updates(topology=topology, preset=preset, lambda1=100.0, lambda2=100.0)
    for masks in (states.actor.masks, states.critic.masks):
        assert all(mask[part].all() for mask in leaves(masks).values())
    assert_equal(states, compiled_updates(topology="dense"), part)


def test_static_td3_is_ds_td3_with_drop_fraction_0_bit_for_bit():
    assert_equal(compiled_updates(drop_fraction=0.0), compiled_updates(topology="static"))


# --- Members -------------------------------------------------------------------------------------

# Another value of every setting that may differ between members. One hidden layer, which compiles
# in half the time, has no lambda2; see test_networks.py for that.
OTHER_VALUES = {
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
    "discount": 0.5,
    "tau": 0.1,
    "exploration_noise": 0.5,
    "target_noise": 0.4,
    "target_noise_clip": 0.1,
    "lambda1": 1.5,
    "drop_fraction": 0.1,
}


def run_and_explore(key, config, batches):
    """All states of a run in float64, and an action explored after its last update."""
    states = train(key, config, as_float64(td3.init(SPACES, key, config)), batches)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    return states, td3.explore(SPACES, key, config, last, batches.observation[0, 0])


def test_members_are_single_runs(rng):
    """Member 0 and members that differ from it in one setting each, in the key, in the data.

    In float64: a batched product rounds differently from single ones, and in float32 one such
    difference could decide which of two connections is the weaker.
    """
    floats = {field.name for field in dataclasses.fields(TD3Config) if field.type is float}
    assert floats - {"lambda2"} == OTHER_VALUES.keys()
    changes = [{}, *({name: value} for name, value in OTHER_VALUES.items()), {}, {}]
    configs = [small_config(hidden_sizes=(8,), **change) for change in changes]
    with jax.enable_x64(True):
        keys = [jax.random.key(member == len(configs) - 2) for member in range(len(configs))]
        data = [random_batch(rng, (40, 5), dtype=np.float64) for _ in range(2)]
        batches = [data[member == len(configs) - 1] for member in range(len(configs))]
        members = list(zip(keys, configs, batches, strict=True))

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        together = quick_jit(jax.vmap(run_and_explore))(*stacked)
        run_alone = quick_jit(run_and_explore)
        first = run_alone(*members[0])
        for index, member in enumerate(members):
            this = jax.tree.map(lambda leaf, index=index: leaf[index], together)
            assert_same_run(this, run_alone(*member))
            assert index == 0 or differ(this, first)


def differ(tree, other, by=1e-6):
    pairs = zip(leaves(tree).values(), leaves(other).values(), strict=True)
    return any(np.abs(a - b).max() > by for a, b in pairs if a.dtype == np.float64)


def assert_same_run(actual, expected):
    """The same masks, all else to 1e-9, absolute where small and relative where large."""
    (states, _), (expected_states, _) = actual, expected
    assert_equal(states.actor.masks, expected_states.actor.masks)
    assert_equal(states.critic.masks, expected_states.critic.masks)
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_allclose(actual[path], expected[path], rtol=1e-9, atol=1e-9, err_msg=path)


def conditions(jaxpr):
    """How many branches a program has, those inside others included."""
    return sum(
        (equation.primitive.name == "cond")
        + sum(map(conditions, jax.extend.core.jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


def test_members_share_the_branches_of_an_update(key, rng):
    """A branch that depends on the member becomes a select, which always pays for both sides."""
    config, batches = small_config(hidden_sizes=(8,)), random_batch(rng, (3, 5))
    keys = jax.random.split(key, 3)
    states = jax.eval_shape(jax.vmap(partial(td3.init, SPACES), in_axes=(0, None)), keys, config)

    def branches(step, axis):
        members = jax.vmap(partial(td3.update, SPACES), in_axes=(0, None, 0, 0, axis))
        return conditions(jax.make_jaxpr(members)(keys, config, states, batches, step).jaxpr)

    # Lines 14, 17 and 20 of Algorithm 1; what is inside them differs between members.
    assert branches(jnp.int32(1), None) == 3
    assert branches(jnp.arange(1, 4), 0) == 0


# --- Randomness ----------------------------------------------------------------------------------


@pytest.fixture
def start(key, rng):
    config = small_config(topology="static")
    return config, first_state(key, config), random_batch(rng)


def test_same_key_and_step_give_the_same_update(key, start):
    assert_equal(update(key, *start, 7), update(key, *start, 7))


@pytest.mark.parametrize("seed, step", [(0, 8), (1, 7)])
def test_another_step_or_key_draws_other_noise(key, start, seed, step):
    loss, other = (
        update(a_key, *start, a_step)[1]["critic_loss"]
        for a_key, a_step in [(key, 7), (jax.random.key(seed), step)]
    )
    assert loss != other
