"""Whole updates of SAC: the reference's, copies of the critics, and the temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import reference
from tests.agents.cases import (
    HIGH,
    LOW,
    MODULES,
    SPACES,
    as_float64,
    first_state,
    history,
    layers,
    leaves,
    q_values,
    quick_jit,
    random_batch,
    small_config,
    update,
)
from tests.agents.reference_net import ReferenceNet, assert_net_is, assert_trees_close

# --- The reference's -----------------------------------------------------------------------------


def sample(actor, observation, noise):
    mean, log_std = (
        reference.mlp(layers(actor, head), observation) for head in ("mean", "log_std")
    )
    return reference.squashed_sample(mean, log_std, noise, LOW, HIGH)


class ReferenceTemperature:
    """log(alpha) and Adam's moments of it; no weight decay."""

    def __init__(self, config, log):
        self.config, self.log = config, np.float64(log)
        self.m, self.v, self.steps = np.zeros(()), np.zeros(()), 0

    def descend(self, log_probability):
        self.steps += 1
        step = 1e-6
        above, below = (
            reference.temperature_loss(log, log_probability, self.config.target_entropy)
            for log in (self.log + step, self.log - step)
        )
        self.log, self.m, self.v = reference.adam_l2_step(
            self.log,
            (above - below) / (2 * step),
            self.m,
            self.v,
            self.steps,
            self.config.learning_rate,
            0.0,
        )


def reference_update(config, actor, critic, temperature, batch, noises, step):
    """Algorithm 4, lines 13 to 22, without adaptation; returns the metrics."""
    noise_next, noise = noises
    alpha = float(np.exp(temperature.log))
    next_action, next_log_probability = sample(actor.params, batch.next_observation, noise_next)
    target = reference.soft_target(
        batch.reward,
        batch.terminated,
        *q_values(critic.target, batch.next_observation, next_action),
        next_log_probability,
        config.discount,
        alpha,
    )

    def critic_loss(params):
        return reference.critic_loss(*q_values(params, batch.observation, batch.action), target)

    def actor_loss(params):
        action, log_probability = sample(params, batch.observation, noise)
        q = q_values(critic.params, batch.observation, action)
        return reference.sac_actor_loss(log_probability, *q, alpha)

    metrics = {
        "critic_loss": critic_loss(critic.params),
        "q_mean": np.mean(q_values(critic.params, batch.observation, batch.action)),
        "temperature": alpha,
    }
    critic.descend(critic_loss)
    metrics["actor_loss"] = actor_loss(actor.params)  # by the critics as they are now
    _, log_probability = sample(actor.params, batch.observation, noise)
    metrics["entropy"] = -log_probability.mean()
    actor.descend(actor_loss)
    if config.learn_temperature:
        temperature.descend(log_probability)
    if step % config.target_period == 0:
        critic.follow()
    return metrics


@jax.jit
def draws(key, step):
    """Returns the noise of an update: of the next actions and of the actor's loss."""
    keys = jax.random.split(jax.random.fold_in(key, step), 4)
    return [jax.random.normal(key, (5, 2)) for key in keys[:2]]


def with_biases(rng, state):
    """Sets nonzero biases: at a unit with only zero inputs a loss has no derivative."""

    def draw(path, leaf):
        return rng.normal(size=leaf.shape) / 10 if "bias" in jax.tree_util.keystr(path) else leaf

    actor, critic = (
        net._replace(params=jax.tree_util.tree_map_with_path(draw, net.params))
        for net in (state.actor, state.critic)
    )
    target_critic = state.target_critic._replace(params=critic.params)
    return state._replace(actor=actor, critic=critic, target_critic=target_critic)


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize(
    "topology, preset, learned, tau",
    [
        ("dense", "paper", False, 1.0),
        ("static", "paper", True, 0.3),
        ("static", "official", False, 0.3),
    ],
)
def test_updates_are_the_references(topology, preset, learned, tau, seed):
    """Gradients by differences, hence in float64; a step is 1e-2, and 1e-6 a small share of it."""
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    config = small_config(
        preset,
        "sac",
        topology=topology,
        hidden_sizes=(4, 3),
        lambda2=1.0,
        learning_rate=1e-2,
        weight_decay=1e-2,
        tau=tau,
        target_period=3,
        temperature=0.7,
        learn_temperature=learned,
        target_entropy=0.5 if learned else None,
    )
    first = with_biases(rng, first_state(key, config))
    with jax.enable_x64(True):
        state = as_float64(first)
        temperature = ReferenceTemperature(config, state.temperature.log)
        actor, critic = ReferenceNet(state.actor, config), ReferenceNet(state.critic, config)
        for step in range(1, 6):
            batch = random_batch(rng, dtype=np.float64)
            noises = [np.asarray(noise) for noise in draws(key, step)]
            expected = reference_update(config, actor, critic, temperature, batch, noises, step)
            state, metrics = update(key, config, state, batch, step)

            assert_trees_close(metrics, expected, atol=1e-6)
            assert_net_is(state.actor, actor)
            assert_net_is(state.critic, critic)
            assert_trees_close(state.target_critic.params, critic.target, atol=1e-6)
            np.testing.assert_allclose(state.temperature.log, temperature.log, rtol=0, atol=1e-6)


# --- Copies of the critics -----------------------------------------------------------------------

# Updates between two copies. Some copies fall on an adaptation, some do not: every other one at
# updates 10, 20, … of the paper's rules, the first one of two at 2, 12, 22, … of the official ones.
COPY_PERIOD = {"paper": 15, "official": 22}
UPDATES = 50


@pytest.fixture(scope="module", params=COPY_PERIOD)
def preset(request):
    return request.param


@pytest.fixture(scope="module")
def copying_states(preset):
    settings = {"tau": 1.0, "target_period": COPY_PERIOD[preset], "hidden_sizes": (8,)}
    config = small_config(preset, "sac", temperature=0.37, **settings)
    batches = random_batch(np.random.default_rng(0), (UPDATES, 5))
    return history(config, jax.random.key(0), batches)


def test_with_tau_1_targets_are_copies_of_the_critics(preset, copying_states):
    """Line 22 changes nothing after line 21, also if the topology has just adapted."""
    masks = leaves(copying_states.critic.masks)
    copies = list(range(COPY_PERIOD[preset], UPDATES + 1, COPY_PERIOD[preset]))
    moved = [(mask[copies] != mask[np.array(copies) - 1]).any() for mask in masks.values()]
    assert any(moved) and len(copies) > 1

    online = leaves(copying_states.critic.params)
    for path, target in leaves(copying_states.target_critic.params).items():
        for step in range(UPDATES + 1):
            copied = step - step % COPY_PERIOD[preset]
            assert np.array_equal(target[step], online[path][copied]), (path, step)
        assert (target[0] != target[-1]).any(), path


def test_a_fixed_temperature_stays(copying_states):
    temperature = copying_states.temperature
    assert (temperature.log == temperature.log[0]).all()
    np.testing.assert_allclose(np.exp(temperature.log[0]), 0.37, rtol=1e-6)
    for leaf in jax.tree.leaves(temperature.opt_state):
        assert not leaf.any()


# --- Temperature ---------------------------------------------------------------------------------


@quick_jit
def follow(key, config, state, batch):
    """log(alpha) and the policy's entropy, before each of many updates on one batch."""

    def body(state, step):
        new_state, metrics = MODULES[type(config)].update(SPACES, key, config, state, batch, step)
        return new_state, (state.temperature.log, metrics["entropy"])

    return jax.lax.scan(body, state, jnp.arange(1, 1501))[1]


def learn_temperature(target_entropy):
    config = small_config(
        agent="sac",
        topology="dense",
        hidden_sizes=(8,),
        learning_rate=1e-2,
        discount=0.0,
        learn_temperature=True,
        target_entropy=target_entropy,
    )
    key = jax.random.key(0)
    batch = random_batch(np.random.default_rng(0), (64,))
    return [np.asarray(found) for found in follow(key, config, first_state(key, config), batch)]


@pytest.mark.parametrize("target_entropy, sign", [(50.0, 1), (-50.0, -1)])
def test_a_learned_temperature_moves_towards_the_target_entropy(target_entropy, sign):
    """Up while the policy has less entropy, down while it has more; a step is the rate's."""
    log_alpha, _ = learn_temperature(target_entropy)
    steps = sign * np.diff(log_alpha)[:40]
    assert ((0.5e-2 < steps) & (steps < 1.1e-2)).all()


@pytest.mark.parametrize("target_entropy", [-2.5, 0.3])
def test_a_learned_temperature_meets_its_target_entropy(target_entropy):
    _, entropy = learn_temperature(target_entropy)
    assert np.mean(entropy[-300:]) == pytest.approx(target_entropy, abs=0.2)


def test_the_target_entropy_is_minus_the_actions_dimensions():
    """If none is given."""
    default, given, other = (learn_temperature(target)[0] for target in (None, -2.0, -2.5))
    np.testing.assert_allclose(default, given, rtol=1e-4, atol=1e-4)
    assert np.abs(other - given).max() > 1e-2
