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
    history,
    init,
    leaves,
    random_batch,
    small_config,
    train,
    update,
)

EVERYTHING_CONNECTED = {"lambda1": 100.0, "lambda2": 100.0}


def assert_equal(actual, expected):
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_array_equal(actual[path], expected[path], err_msg=path)


def assert_close(actual, expected, tolerance, until=None):
    """Within the tolerance, absolute for small numbers and relative for large ones."""
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_allclose(
            actual[path][:until],
            expected[path][:until],
            rtol=tolerance,
            atol=tolerance,
            err_msg=path,
        )


# --- All-True masks give dense TD3, drop fraction 0 gives Static-TD3 -----------------------------


def eager_updates(**settings):
    """The state after two updates, of which the second trains the actor and adapts.

    Eager, each operation is a program of its own, the same in every method: nothing can differ
    but the method. One hidden layer, because that takes seconds.
    """
    period = 4 if settings.get("preset") == "official" else 2
    config = small_config(**settings, hidden_sizes=(8,), adaptation_period=period)
    key, rng = jax.random.key(0), np.random.default_rng(0)
    state = init(key, config)
    with jax.disable_jit():
        for step in (1, 2):
            state, _ = td3.update(SPACES, key, config, state, random_batch(rng), jnp.int32(step))
    return state


@pytest.fixture(scope="module")
def eager_dense():
    with jax.numpy_rank_promotion("allow"):
        return eager_updates(topology="dense")


def compiled_updates(*settings):
    """All states of a run for each group of settings, on the same data."""
    batches = random_batch(np.random.default_rng(0), (UPDATES, 5))
    return [history(small_config(**group), jax.random.key(0), batches) for group in settings]


# Every run whose topology may move, and one whose does not.
SPARSE = [("static", "paper"), ("dynamic", "paper"), ("dynamic", "official")]


@pytest.mark.parametrize("topology, preset", SPARSE)
def test_with_all_connections_is_dense_td3_bit_for_bit(topology, preset, eager_dense):
    state = eager_updates(preset=preset, topology=topology, **EVERYTHING_CONNECTED)
    assert all(mask.all() for mask in leaves([state.actor.masks, state.critic.masks]).values())
    assert_equal(state, eager_dense)


@pytest.mark.parametrize("topology, preset", SPARSE)
def test_with_all_connections_is_dense_td3_over_many_compiled_updates(topology, preset):
    """Not bit for bit: XLA fuses the programs differently, and a fused product-and-sum rounds once.

    Over 200 updates 5e-8 was seen to come of that. A step is 1e-3.
    """
    settings = {"preset": preset, "topology": topology, **EVERYTHING_CONNECTED}
    dense, connected = compiled_updates({"topology": "dense"}, settings)
    assert_close(connected, dense, 1e-6, until=FINAL_DROP if preset == "official" else None)


def test_static_td3_is_ds_td3_with_drop_fraction_0_bit_for_bit():
    assert_equal(eager_updates(drop_fraction=0.0), eager_updates(topology="static"))


def test_static_td3_is_ds_td3_with_drop_fraction_0_over_many_compiled_updates():
    """To 1e-6, as above; the masks never differ."""
    static, dynamic = compiled_updates({"topology": "static"}, {"drop_fraction": 0.0})
    assert_equal(dynamic.actor.masks, static.actor.masks)
    assert_equal(dynamic.critic.masks, static.critic.masks)
    assert_close(dynamic, static, 1e-6)


# --- Members -------------------------------------------------------------------------------------

# Another value of every setting that may differ between members.
OTHER_VALUES = {
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
    "discount": 0.5,
    "tau": 0.1,
    "exploration_noise": 0.5,
    "target_noise": 0.4,
    "target_noise_clip": 0.1,
    "lambda1": 1.5,
    "lambda2": 1.0,
    "drop_fraction": 0.1,
}


def run_and_explore(key, config, batches):
    """All states of a run in float64, and an action explored after its last update."""
    states = train(key, config, as_float64(init(key, config)), batches)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    return states, td3.explore(SPACES, key, config, last, batches.observation[0, 0])


def test_members_are_single_runs(rng):
    """Member 0 and members that differ from it in one setting each, in the key, in the data.

    In float64: a batched product rounds differently from single ones, and in float32 one such
    difference could decide which of two connections is the weaker.
    """
    floats = {field.name for field in dataclasses.fields(TD3Config) if field.type is float}
    assert floats == OTHER_VALUES.keys()
    configs = [small_config(**{name: value}) for name, value in OTHER_VALUES.items()]
    configs = [small_config(), *configs, small_config(), small_config()]
    with jax.enable_x64(True):
        keys = [jax.random.key(member == len(configs) - 2) for member in range(len(configs))]
        data = [random_batch(rng, (40, 5), dtype=np.float64) for _ in range(2)]
        batches = [data[member == len(configs) - 1] for member in range(len(configs))]
        members = list(zip(keys, configs, batches, strict=True))

        together = jax.vmap(run_and_explore)(*jax.tree.map(lambda *all: jnp.stack(all), *members))
        first = run_and_explore(*members[0])
        for index, member in enumerate(members):
            this = jax.tree.map(lambda leaf, index=index: leaf[index], together)
            assert_same_run(this, run_and_explore(*member))
            assert index == 0 or differ(this, first)


def differ(tree, other, by=1e-6):
    pairs = zip(leaves(tree).values(), leaves(other).values(), strict=True)
    return any(np.abs(a - b).max() > by for a, b in pairs if a.dtype == np.float64)


def assert_same_run(actual, expected):
    (states, action), (expected_states, expected_action) = actual, expected
    for net, expected_net in zip(states[:2], expected_states[:2], strict=True):
        assert_equal(net.masks, expected_net.masks)
    assert_close(states, expected_states, 1e-9)
    np.testing.assert_allclose(action, expected_action, rtol=0, atol=1e-9)


def conditions(jaxpr):
    """How many branches a program has, those inside others included."""
    return sum(
        (equation.primitive.name == "cond")
        + sum(map(conditions, jax.extend.core.jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


def test_members_share_the_branches_of_an_update(key, rng):
    """A branch that depends on the member becomes a select, which always pays for both sides."""
    config, batches = small_config(), random_batch(rng, (3, 5))
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
    return config, init(key, config), random_batch(rng)


def test_same_key_and_step_give_the_same_update(key, start):
    assert_equal(update(key, *start, 7), update(key, *start, 7))


@pytest.mark.parametrize("seed, step", [(0, 8), (1, 7)])
def test_another_step_or_key_draws_other_noise(key, start, seed, step):
    loss, other = (
        update(a_key, *start, a_step)[1]["critic_loss"]
        for a_key, a_step in [(key, 7), (jax.random.key(seed), step)]
    )
    assert loss != other
