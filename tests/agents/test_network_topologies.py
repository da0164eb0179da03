"""Tests actor and critics with different topologies, each independent of the other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsrl_jax import sparse
from dsrl_jax.agents.sparse_training import make_optimizer, make_sparsity
from dsrl_jax.sparse import SparseNet
from tests import reference
from tests.agents.cases import (
    ACTOR_PERIOD,
    CONFIGS,
    MODULES,
    SPACES,
    first_state,
    gradient_steps,
    hidden_kernels,
    history,
    leaves,
    moments,
    quick_jit,
    random_batch,
    small_config,
)
from tests.sparse import reference_rules

UPDATES = 20
ADAPTATIONS = (10, 20)
# Agent; topologies of actor and critics; what else they need.
RUNS = {
    "td3 dense rigl": ("td3", "dense", "rigl", {}),
    "td3 static snfs": ("td3", "static", "snfs", {"moments": "dense"}),
    "sac rigl dynamic": ("sac", "rigl", "dynamic", {}),
    "sac set dense": ("sac", "set", "dense", {}),
}


def make_config(agent, actor, critic, settings):
    return small_config(agent=agent, actor_topology=actor, critic_topology=critic, **settings)


@pytest.fixture(scope="module", params=RUNS)
def run(request):
    """A config, every state of its run, `[updates + 1, …]`, and the batches."""
    config = make_config(*RUNS[request.param])
    batches = random_batch(np.random.default_rng(0), (UPDATES, 5))
    return config, history(config, jax.random.key(0), batches), batches


def nets(config, states):
    """(topology, the net's states, its target's params or None) of actor and critics."""
    target_actor = getattr(states, "target_actor", None)
    return [
        (config.sparse.actor_topology, states.actor, target_actor and target_actor.params),
        (config.sparse.critic_topology, states.critic, states.target_critic.params),
    ]


def at(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_same(actual, expected):
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_array_equal(actual[path], expected[path], err_msg=path, strict=True)


# --- Laws of every update ------------------------------------------------------------------------


def test_masks_change_only_at_adaptations_of_networks_that_adapt(run):
    config, states, _ = run
    for topology, net, _ in nets(config, states):
        for path, mask in hidden_kernels(net.masks).items():
            moved = (mask[1:] != mask[:-1]).any(axis=(-2, -1))
            expected = () if topology in ("dense", "static") else ADAPTATIONS
            assert tuple(np.flatnonzero(moved) + 1) == expected, path


def test_a_dense_network_has_all_connections_and_the_others_keep_their_count(run):
    config, states, _ = run
    for topology, net, _ in nets(config, states):
        for path, mask in hidden_kernels(net.masks).items():
            assert mask.all() == (topology == "dense"), path
            counts = mask.sum(axis=(-2, -1))
            assert (counts == counts[0]).all(), path
            assert not leaves(net.params)[path][~mask].any(), path


def test_the_target_of_a_dense_network_is_the_plain_average(run):
    config, states, _ = run
    for topology, net, target in nets(config, states):
        if topology != "dense" or target is None:
            continue
        online = leaves(net.params)
        for path, kernel in leaves(target).items():
            for update in range(1, UPDATES + 1):
                average = reference.polyak(kernel[update - 1], online[path][update], config.tau)
                due = (kernel[update] != kernel[update - 1]).any()
                expected = average if due else kernel[update - 1]
                np.testing.assert_allclose(kernel[update], expected, rtol=1e-5, atol=1e-9)
            assert (kernel[UPDATES] != kernel[0]).any(), path


def test_moments_of_absent_weights_are_0_where_they_are_sparse(run):
    config, states, _ = run
    for _, net, _ in nets(config, states):
        masks = hidden_kernels(net.masks)
        for moment in moments(net):
            for path, values in hidden_kernels(moment).items():
                absent = values[~masks[path]].any()
                # A full layer has none.
                assert absent == (config.sparse.moments == "dense" and not masks[path].all()), path


# --- Adaptations, against the reference ----------------------------------------------------------


def test_every_adaptation_is_its_rules_after_a_gradient_step(run):
    """RigL: the largest gradients outside what stays; SNFS: the largest momentum; SET: anywhere."""
    config, states, batches = run
    fraction, checked = config.sparse.drop_fraction, 0
    for step in ADAPTATIONS:
        before, after = at(states, step - 1), at(states, step)
        key, batch = jax.random.key(0), at(batches, step - 1)
        stepped = gradient_steps(key, config, before, after.critic.params, batch, step)
        kinds = config.sparse.critic_topology, config.sparse.actor_topology
        pairs = (before.critic, after.critic), (before.actor, after.actor)
        for topology, (old, new), (params, gradients) in zip(kinds, pairs, stepped, strict=True):
            if topology not in ("rigl", "snfs", "set"):
                continue
            signal = {"rigl": gradients, "snfs": moments(new)[0], "set": gradients}[topology]
            trees = (params, signal, old.masks, new.masks)
            for layer in zip(*(hidden_kernels(tree).values() for tree in trees), strict=True):
                check_adaptation(topology, *layer, fraction)
                checked += 1
    assert checked >= 2 * len(ADAPTATIONS)


def check_adaptation(topology, kernel, signal, mask, new_mask, fraction):
    before_drop = topology != "rigl"
    room = (~mask).sum() if before_drop else mask.size
    dropped = reference_rules.drop_magnitude(kernel, mask, fraction, room)
    assert dropped.any()
    kept = mask & ~dropped
    grown = new_mask & ~kept
    candidates = ~mask if before_drop else ~kept
    if topology == "set":
        assert not (grown & ~candidates).any() and grown.sum() == dropped.sum()
    else:
        strongest = reference_rules.grow_strongest(signal, candidates, dropped.sum())
        np.testing.assert_array_equal(grown, strongest)
    assert (new_mask & kept == kept).all()


def test_rigl_by_hand():
    """One layer, nothing learned: 2 of 4 connections go, and the 2 largest gradients come."""
    config = small_config(
        critic_topology="rigl", hidden_sizes=(4,), learning_rate=0.0, drop_fraction=0.5
    )
    #                    stays        go          stays       empty
    kernel = jnp.array([[0.9, 0.0], [-0.1, 0.2], [-0.8, 0.0], [0.0, 0.0]])
    mask = jnp.array([[1, 0], [1, 1], [1, 0], [0, 0]], bool)
    # Of what stays the gradient does not matter; of what went, the second comes back as 0.
    gradient = jnp.array([[9.0, 0.1], [0.2, -3.0], [-9.0, 0.0], [2.0, -1.0]])
    expected = jnp.array([[1, 0], [0, 1], [1, 0], [1, 0]], bool)

    def layer(values):
        return {"critic_1": {"hidden_0": {"kernel": values}}}

    params, optimizer = layer(kernel), make_optimizer(config)
    net = SparseNet(params, layer(mask), optimizer.init(params))
    train = partial(
        sparse.step_and_adapt,
        key=jax.random.key(0),
        net=net,
        gradients=layer(gradient),
        drop_fraction=config.sparse.drop_fraction,
        optimizer=optimizer,
        sparsity=make_sparsity(config, "critic"),
    )
    adapted = train(True)
    assert_same(adapted.masks, layer(expected))
    assert_same(adapted.params, layer(jnp.array([[0.9, 0.0], [0, 0], [-0.8, 0], [0, 0]])))
    assert_same(train(False).masks, layer(mask))


# --- One network does not see the other's topology -----------------------------------------------


@pytest.mark.parametrize("agent", CONFIGS)
def test_first_networks_are_those_of_the_agents_with_one_topology(agent, key):
    mixed = first_state(key, small_config(agent=agent, actor_topology="dense"))
    plain = first_state(key, small_config(agent=agent))
    dense = first_state(key, small_config(agent=agent, topology="dense"))
    assert_same(mixed.critic, plain.critic)
    assert_same(mixed.target_critic, plain.target_critic)
    assert_same(mixed.actor, dense.actor)


def test_a_dense_actors_update_is_td3s_bit_for_bit_given_the_same_critics():
    """Adam on the dense gradient, and the average, with none of the code of sparse networks."""
    config = make_config(*RUNS["td3 dense rigl"])
    optimizer = make_optimizer(config)

    @quick_jit
    def dense_update(net, target, critic, batch):
        loss = MODULES[type(config)].actor_loss
        gradients = jax.grad(loss)(net.params, SPACES, config, critic, batch)
        updates, opt_state = optimizer.update(gradients, net.opt_state, net.params)
        params = optax.apply_updates(net.params, updates)
        tau = jnp.float32(config.tau)
        average = jax.tree.map(lambda new, old: tau * new + (1 - tau) * old, params, target)
        return params, opt_state, average

    batches = random_batch(np.random.default_rng(1), (ADAPTATIONS[0], 5))
    states = history(config, jax.random.key(0), batches)
    for step in range(ACTOR_PERIOD["td3"], ADAPTATIONS[0] + 1, ACTOR_PERIOD["td3"]):
        before, after, batch = at(states, step - 1), at(states, step), at(batches, step - 1)
        expected = dense_update(
            before.actor, before.target_actor.params, after.critic.params, batch
        )
        found = after.actor.params, after.actor.opt_state, after.target_actor.params
        assert_same(found, expected)


@pytest.mark.parametrize("agent", CONFIGS)
@pytest.mark.parametrize("topology", ["dense", "static", "dynamic"])
def test_networks_of_the_algorithms_own_topology_are_the_algorithm(agent, topology, key, rng):
    """Both are one program."""

    def program(**settings):
        config = small_config(agent=agent, topology=topology, **settings)
        module = MODULES[type(config)]
        state = jax.eval_shape(partial(module.init, SPACES), key, config)
        update = jax.jit(partial(module.update, SPACES, config=config))
        return update.lower(key, state=state, batch=random_batch(rng), step=1).as_text()

    assert program(actor_topology=topology, critic_topology=topology) == program()


def test_rules_by_name_are_those_of_the_library():
    for name, rules in {"set": sparse.SET, "rigl": sparse.RIGL, "snfs": sparse.SNFS}.items():
        config = small_config(actor_topology=name, moments="dense")
        assert make_sparsity(config, "actor").rules == rules
        assert make_sparsity(config, "critic").rules == sparse.PAPER
