"""Tests methods that must agree: full sparse networks and dense ones, members and single runs.

And randomness: all random numbers follow from the key and the step.
"""

import functools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.config.settings import settings_of
from tests.agents.cases import (
    CONFIGS,
    FINAL_DROP,
    MODULES,
    SPACES,
    UPDATES,
    as_float64,
    first_state,
    history,
    init,
    leaves,
    plain_update,
    quick_jit,
    random_batch,
    small_config,
    train,
    update,
)
from tests.branches import branch_conditions, compiled_branches
from tests.sorting import says_sort

both_agents = pytest.mark.parametrize("agent", CONFIGS)


def without_guesses(tree):
    """Thresholds of targets only change the time of a search; dense targets have none."""
    return {path: leaf for path, leaf in leaves(tree).items() if "/weakest/" not in path}


def assert_equal(actual, expected, part=...):
    actual, expected = without_guesses(actual), without_guesses(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_array_equal(
            actual[path][part], expected[path][part], err_msg=path, strict=True
        )


# --- Dense, static and dynamic -------------------------------------------------------------------


@functools.cache
def compiled_updates(**settings):
    """Returns every state of a run on the same data.

    Compiled without optimization, each operation rounds by itself, whatever it is fused with:
    programs of different methods agree bit for bit where the methods do.
    """
    batches = random_batch(np.random.default_rng(0), (UPDATES, 5))
    return history(small_config(**settings), jax.random.key(0), batches)


@both_agents
@pytest.mark.parametrize(
    "topology, preset", [("static", "paper"), ("dynamic", "paper"), ("dynamic", "official")]
)
def test_with_all_connections_it_is_the_dense_agent_bit_for_bit(agent, topology, preset):
    """A full layer has no room to grow, hence drops nothing, but for the official final drop."""
    part = slice(FINAL_DROP if preset == "official" else None)
    full = {"lambda1": 100.0, "lambda2": 100.0}
    states = compiled_updates(agent=agent, topology=topology, preset=preset, **full)
    for masks in (states.actor.masks, states.critic.masks):
        assert all(mask[part].all() for mask in leaves(masks).values())
    assert_equal(states, compiled_updates(agent=agent, topology="dense"), part)


@both_agents
def test_static_is_dynamic_with_drop_fraction_0_bit_for_bit(agent):
    static = compiled_updates(agent=agent, topology="static")
    assert_equal(compiled_updates(agent=agent, drop_fraction=0.0), static)


# --- Members -------------------------------------------------------------------------------------

# Another value of every setting that may differ between members. One hidden layer, which compiles
# in half the time, has no lambda2; see test_networks.py for that.
OF_BOTH = {
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
    "discount": 0.5,
    "tau": 0.1,
    "lambda1": 1.5,
    "drop_fraction": 0.1,
}
OTHER_VALUES = {
    "td3": OF_BOTH | {"exploration_noise": 0.5, "target_noise": 0.4, "target_noise_clip": 0.1},
    "sac": OF_BOTH | {"temperature": 0.3, "target_entropy": 1.0},
}
# What all members have. A learned temperature needs the target entropy, a number for each member.
OF_ALL = {
    "td3": {"hidden_sizes": (8,)},
    "sac": {"hidden_sizes": (8,), "learn_temperature": True, "target_entropy": -2.0},
}
# The lambdas replace these; members may differ in them too, see test_networks.py.
SPARSITIES = {"sparsity", "actor_sparsity", "critic_sparsity"}


def run_and_explore(key, config, batches):
    """All states of a run in float64, and an action explored after its last update."""
    states = train(key, config, as_float64(init(key, config)), batches)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    explore = MODULES[type(config)].explore
    return states, explore(SPACES, key, config, last, batches.observation[0, 0])


@both_agents
def test_members_are_single_runs(agent, rng):
    """Member 0 and members that differ from it in one setting each, in the key, in the data.

    In float64: a batched product rounds differently from single ones, and in float32 one such
    difference could decide which of two connections is the weaker.
    """
    others = OTHER_VALUES[agent]
    floats = {
        setting.name
        for setting in settings_of(CONFIGS[agent])
        if setting.type in (float, float | None)
    }
    assert floats - {"lambda2"} - SPARSITIES == others.keys()
    changes = [{}, *({name: value} for name, value in others.items()), {}, {}]
    configs = [small_config(agent=agent, **(OF_ALL[agent] | change)) for change in changes]
    with jax.enable_x64(True):
        keys = [jax.random.key(member == len(configs) - 2) for member in range(len(configs))]
        data = [random_batch(rng, (24, 5), dtype=np.float64) for _ in range(2)]
        batches = [data[member == len(configs) - 1] for member in range(len(configs))]
        members = list(zip(keys, configs, batches, strict=True))

        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        together = quick_jit(jax.vmap(run_and_explore))(*stacked)
        run_single = quick_jit(run_and_explore)
        first = run_single(*members[0])
        for index, member in enumerate(members):
            this = jax.tree.map(lambda leaf, index=index: leaf[index], together)
            assert_same_run(this, run_single(*member))
            assert index == 0 or differ(this, first)


def differ(tree, other, by=1e-6):
    pairs = zip(leaves(tree).values(), leaves(other).values(), strict=True)
    return any(np.abs(a - b).max() > by for a, b in pairs if a.dtype == np.float64)


def assert_same_run(actual, expected):
    """The same masks, all else to 1e-9, absolute where small and relative where large."""
    (states, _), (expected_states, _) = actual, expected
    assert_equal(states.actor.masks, expected_states.actor.masks)
    assert_equal(states.critic.masks, expected_states.critic.masks)
    actual, expected = without_guesses(actual), without_guesses(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_allclose(actual[path], expected[path], rtol=1e-9, atol=1e-9, err_msg=path)


# Lines 14, 17 and 20 of Algorithm 1; lines 14, 18 and 21 of Algorithm 4 with its target period.
BRANCHES = 3


@both_agents
def test_members_share_the_branches_of_an_update(agent, key, rng):
    """A branch that depends on the member would be a select, which always pays for both sides."""
    config = small_config(agent=agent, **OF_ALL[agent])
    keys, batches = jax.random.split(key, 3), random_batch(rng, (3, 5))
    states = jax.eval_shape(jax.vmap(init, in_axes=(0, None)), keys, config)

    def members(axis):
        one = partial(MODULES[type(config)].update, SPACES)
        return jax.vmap(one, in_axes=(0, None, 0, 0, axis))

    arguments = keys, config, states, batches
    shared = members(None)
    assert branch_conditions(shared, *arguments, jnp.int32(1)) == [()] * BRANCHES
    assert branch_conditions(members(0), *arguments, jnp.arange(1, 4)) == []
    compiled = quick_jit(shared).lower(*arguments, jnp.int32(1)).compile()
    assert compiled_branches(compiled) == BRANCHES


@both_agents
@pytest.mark.parametrize("topology", ["dense", "static"])
def test_networks_that_never_adapt_have_no_adaptation_branch(agent, topology, key, rng):
    """What is left is the turn of the actor and targets, or of SAC's target."""
    config = small_config(agent=agent, topology=topology, **OF_ALL[agent])
    states = jax.eval_shape(jax.vmap(init, in_axes=(0, None)), jax.random.split(key, 2), config)
    one = partial(MODULES[type(config)].update, SPACES)
    members = jax.vmap(one, in_axes=(None, None, 0, 0, None))
    given = key, config, states, random_batch(rng, (2, 5)), jnp.int32(1)
    assert branch_conditions(members, *given) == [()]


@both_agents
def test_all_updates_are_one_program(agent, key, rng):
    """With and without an adaptation, the actor's turn and the targets' turn."""
    config = small_config(agent=agent, adaptation_period=4)
    chex.clear_trace_counter()
    once = quick_jit(chex.assert_max_traces(plain_update, n=1))
    state = first_state(key, config)
    for step in range(1, 6):
        state, metrics = once(key, config, state, random_batch(rng), step)
    chex.assert_tree_all_finite((state, metrics))


@pytest.mark.parametrize("preset", ["paper", "official"])
@both_agents
def test_no_compiled_update_sorts(agent, preset, key, rng):
    """A sort of one layer would take longer than all the rest of an update."""
    config = small_config(preset, agent=agent)
    arguments = key, config, first_state(key, config), random_batch(rng), 1
    assert not says_sort(update.lower(*arguments).compile().as_text())
    # What it looks for is there in programs that do:
    for function in (jnp.sort, jnp.median, lambda x: jax.lax.top_k(x, 3)):
        assert says_sort(quick_jit(function).lower(jnp.arange(99.0)).compile().as_text())


# --- Randomness ----------------------------------------------------------------------------------


@pytest.fixture(params=CONFIGS)
def start(request, key, rng):
    config = small_config(agent=request.param, topology="static")
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
