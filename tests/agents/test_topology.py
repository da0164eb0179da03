"""Tests when and how an agent's topology moves: the schedule, and invariants of every update.

All tests share one run of 60 updates for each agent and preset, with every state.
"""

from functools import partial

import jax
import numpy as np
import pytest

from dsrl_jax.agents.sparse_training import adaptation_due
from tests import reference
from tests.agents.cases import (
    ACTOR_PERIOD,
    CONFIGS,
    FINAL_DROP,
    PERIOD,
    PRESETS,
    TARGET_PERIOD,
    UPDATES,
    gradient_steps,
    hidden_kernels,
    history,
    leaves,
    moments,
    random_batch,
    small_config,
    targets_of,
)

ADAPTATIONS = {
    "paper": list(range(PERIOD, UPDATES + 1, PERIOD)),
    "official": [*range(2, FINAL_DROP, PERIOD), FINAL_DROP],
}


@pytest.fixture(scope="module", params=CONFIGS)
def agent(request):
    return request.param


@pytest.fixture(scope="module", params=PRESETS)
def preset(request):
    return request.param


@pytest.fixture(scope="module")
def config(agent, preset):
    return small_config(preset, agent)


@pytest.fixture(scope="module")
def batches():
    return random_batch(np.random.default_rng(0), (UPDATES, 5))


@pytest.fixture(scope="module")
def states(config, batches):
    """Every state from the first, `[updates + 1, …]`; index = number of the update."""
    return history(config, jax.random.key(0), batches)


def changes(tree):
    """The updates, counted from 1, at which any leaf changed."""
    moved = np.zeros(UPDATES, bool)
    for leaf in jax.tree.leaves(tree):
        moved |= (leaf[1:] != leaf[:-1]).reshape(UPDATES, -1).any(axis=1)
    return [int(update) for update in np.flatnonzero(moved) + 1]


def connections(masks):
    """Connections of every hidden layer after every update, `{path: [updates + 1]}`."""
    return {path: mask.sum(axis=(-2, -1)) for path, mask in hidden_kernels(masks).items()}


# --- Schedule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("last_adaptation", [None, 1, 2, 7, 8, 9, 10, 11, 12, 13, 20])
@pytest.mark.parametrize("period, offset", [(4, 0), (4, 2), (6, 2), (1, 0), (5, 4)])
def test_schedule_is_the_references(period, offset, last_adaptation):
    config = small_config(
        agent="sac",  # trains its actor at every update
        adaptation_period=period,
        adaptation_offset=offset,
        last_adaptation=last_adaptation,
    )
    due, grow = jax.vmap(partial(adaptation_due, config.sparse))(np.arange(1, 61))
    grow = np.broadcast_to(grow, due.shape)
    names = {(False, False): "no", (True, True): "drop_and_grow", (True, False): "drop"}
    found = [names[bool(d), bool(d and g)] for d, g in zip(due, grow, strict=True)]
    expected = [
        reference.adapts(update, period, offset, last_adaptation) for update in range(1, 61)
    ]
    assert found == expected


def test_a_last_adaptation_of_0_is_none():
    due, grow = adaptation_due(small_config(last_adaptation=0).sparse, 500 * PERIOD)
    assert due and grow is True


def test_masks_change_at_the_schedules_updates_and_at_no_other(preset, states):
    assert changes(states.critic.masks) == ADAPTATIONS[preset]
    assert changes(states.actor.masks) == ADAPTATIONS[preset]


def test_every_sparse_layer_takes_part_in_every_adaptation(preset, states):
    for net in (states.actor, states.critic):
        for path, mask in hidden_kernels(net.masks).items():
            assert changes(mask) == ADAPTATIONS[preset], path


def test_actor_and_targets_change_only_at_their_turns(agent, states):
    assert changes(states.critic.params) == list(range(1, UPDATES + 1))
    trained = list(range(ACTOR_PERIOD[agent], UPDATES + 1, ACTOR_PERIOD[agent]))
    assert changes(states.actor.params) == trained
    assert changes(states.actor.opt_state) == trained
    for target, _ in targets_of(states):
        assert changes(target) == target_updates(agent)


def target_updates(agent):
    return list(range(TARGET_PERIOD[agent], UPDATES + 1, TARGET_PERIOD[agent]))


# --- Invariants ----------------------------------------------------------------------------------


def test_weights_are_0_off_the_mask(states):
    for net in (states.actor, states.critic):
        masks = leaves(net.masks)
        for path, param in leaves(net.params).items():
            assert not param[~masks[path]].any(), path


def test_dense_layers_stay_whole(states):
    for net in (states.actor, states.critic):
        for path, mask in leaves(net.masks).items():
            assert mask.all() == (path not in hidden_kernels(net.masks)), path


def test_connections_are_conserved(preset, states):
    end = FINAL_DROP if preset == "official" else UPDATES + 1
    for net in (states.actor, states.critic):
        for path, count in connections(net.masks).items():
            assert (count[:end] == count[0]).all(), path


@pytest.mark.parametrize("preset", ["official"], indirect=True)
def test_the_final_drop_takes_connections_and_is_the_last_change(states):
    for net in (states.actor, states.critic):
        for path, count in connections(net.masks).items():
            mask = hidden_kernels(net.masks)[path]
            assert count[FINAL_DROP] < count[FINAL_DROP - 1], path
            assert not (mask[FINAL_DROP] & ~mask[FINAL_DROP - 1]).any(), path
            assert (mask[FINAL_DROP:] == mask[FINAL_DROP]).all(), path


def test_moments_are_0_off_the_mask_where_they_are_sparse(config, states):
    for net in (states.actor, states.critic):
        masks = hidden_kernels(net.masks)
        for moment in moments(net):
            for path, values in hidden_kernels(moment).items():
                # Dense ones follow the dense gradient, also where no connection ever was.
                assert values[~masks[path]].any() == (config.sparse.moments == "dense"), path


def test_targets_have_the_online_layers_connections(agent, states):
    """At most as many, and exactly as many wherever the average had more to choose from."""
    saturated, now = 0, target_updates(agent)
    before = [update - TARGET_PERIOD[agent] for update in now]
    for target, net in targets_of(states):
        counts, online = connections(net.masks), hidden_kernels(net.params)
        for path, kernel in hidden_kernels(target).items():
            # An average is 0 where both are: tau and 1 - tau are not.
            averaged = (online[path][now] != 0) | (kernel[before] != 0)
            candidates = averaged.sum(axis=(-2, -1))
            kept = (kernel[now] != 0).sum(axis=(-2, -1))
            count = counts[path][now]
            assert np.array_equal(kept, np.minimum(candidates, count)), path
            saturated += (candidates > count).sum()
    assert saturated > 0


def test_targets_are_the_largest_of_the_average(agent, config, states):
    keep = {"exact": reference.keep_largest, "strict": reference.keep_largest_strict}
    for target, net in targets_of(states):
        online, masks = leaves(net.params), leaves(net.masks)
        sparse_paths = hidden_kernels(target)
        for path, kernel in leaves(target).items():
            for update in target_updates(agent):
                earlier = kernel[update - TARGET_PERIOD[agent]]
                average = reference.polyak(earlier, online[path][update], config.tau)
                if path in sparse_paths:
                    count = masks[path][update].sum()
                    average = keep[config.sparse.target_ties](average, count)
                np.testing.assert_allclose(kernel[update], average, rtol=1e-5, atol=1e-9)


def test_twin_critics_have_different_topologies(states):
    first, second = (hidden_kernels(critic) for critic in states.critic.masks.values())
    for path in first:
        assert (first[path] != second[path]).any(axis=(-2, -1)).all(), path


# --- Adaptations ---------------------------------------------------------------------------------


def test_every_adaptation_is_algorithm_2_after_a_gradient_step(
    agent, preset, config, states, batches
):
    for step in ADAPTATIONS[preset]:
        before, after = (jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in (step - 1, step))
        batch = jax.tree.map(lambda leaf, step=step: leaf[step - 1], batches)
        stepped = gradient_steps(
            jax.random.key(0), config, before, after.critic.params, batch, step
        )
        for old, new, (params, _) in zip(
            (before.critic, before.actor), (after.critic, after.actor), stepped, strict=True
        ):
            layers = zip(
                *(hidden_kernels(tree).values() for tree in (params, old.masks)),
                *(hidden_kernels(tree).values() for tree in (new.params, new.masks)),
                strict=True,
            )
            for layer in layers:
                check_adaptation(preset, *layer, config.sparse.drop_fraction, step == FINAL_DROP)


def check_adaptation(preset, kernel, mask, new_kernel, new_mask, drop_fraction, final):
    # Two programs round differently: what both kernels hold is close, and is then made the same.
    kept = new_kernel != 0
    np.testing.assert_allclose(new_kernel[kept], kernel[kept], rtol=1e-5, atol=1e-6)
    kernel = np.where(kept, new_kernel, kernel)
    arguments = kernel, mask, new_kernel, new_mask, drop_fraction
    if preset == "paper":
        reference.check_paper_adaptation(*arguments)
    else:
        reference.check_official_adaptation(*arguments, final)
