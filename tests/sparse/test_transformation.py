"""Any optax optimizer inside `sparsify`: what holds after every update, and what it equals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrl_jax import sparse

SHAPES = {"hidden": {"bias": (7,), "kernel": (9, 7)}, "output": {"bias": (4,), "kernel": (7, 4)}}
# One sparse kernel is enough, and half the compiling; the other is dense by the predicate.
KERNELS = [("hidden", "kernel")]
PERIOD = 3
# With gradients that are whole numbers, float32 holds every result of this one exactly.
EXACT = optax.sgd(0.25, momentum=0.5)


def is_hidden_kernel(path, leaf):
    return path == "hidden/kernel" and leaf.dtype != bool  # sees params, never masks


def labels(params):
    return {"hidden": {"bias": "a", "kernel": "b"}, "output": "a"}


# With each, what its state holds that follows no parameter.
OPTIMIZERS = {
    "adam": (optax.adam(1e-2), ["0/count"]),
    "adamw": (optax.adamw(1e-2), ["0/count"]),
    "momentum": (EXACT, []),
    "lion": (optax.lion(1e-2), ["0/count"]),
    "chain": (optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)), ["1/0/count"]),
    "injected": (
        optax.inject_hyperparams(optax.sgd)(learning_rate=0.25, momentum=0.5),
        ["count", "hyperparams/learning_rate", "hyperparams/momentum"],
    ),
    "multi_transform": (
        optax.multi_transform({"a": optax.adam(1e-2), "b": optax.lion(1e-2)}, labels),
        ["inner_states/a/inner_state/0/count", "inner_states/b/inner_state/0/count"],
    ),
    "multi_steps": (
        optax.MultiSteps(optax.adam(1e-2), 2).gradient_transformation(),
        ["mini_step", "gradient_step", "inner_opt_state/0/count"],
    ),
}


@partial(jax.jit, static_argnames="dtype")
def random_tree(key, dtype=jnp.float32):
    keys = jax.random.split(key, 4)
    shapes, structure = jax.tree.flatten(SHAPES, is_leaf=lambda node: isinstance(node, tuple))
    draw = [jax.random.normal(one, s, dtype) for one, s in zip(keys, shapes, strict=True)]
    return structure.unflatten(draw)


def whole_tree(key):
    return jax.tree.map(lambda leaf: jnp.round(2 * leaf), random_tree(key))


def make(inner=EXACT, sparsity=0.6, key=None, **settings):
    key = jax.random.key(0) if key is None else key
    settings = {"period": PERIOD, "is_sparse": is_hidden_kernel} | settings
    return sparse.sparsify(inner, sparsity, key=key, **settings)


def step_of(optimizer):
    @jax.jit
    def step(params, state, gradients, number):
        updates, state = optimizer.update(gradients, state, params, step=number)
        return optax.apply_updates(params, updates), state

    return step


def train(optimizer, params, steps=7, gradients=whole_tree):
    """(number, before, after) of every update; before and after are (params, state)."""
    step, now = step_of(optimizer), (params, optimizer.init(params))
    for number in range(1, steps + 1):
        before, now = now, step(*now, gradients(jax.random.key(number)), number)
        yield number, before, now


def masks_of(state):
    masks = sparse.get_masks(state)
    return [np.asarray(masks[layer][leaf]) for layer, leaf in KERNELS]


def kernels_of(tree):
    return [np.asarray(tree[layer][leaf]) for layer, leaf in KERNELS]


def assert_trees_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


# --- After every update --------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_trains_the_connections_alone(name):
    inner, others = OPTIMIZERS[name]
    first, moved = None, 0
    for number, before, (params, state) in train(
        make(inner, rules=sparse.SET), random_tree(jax.random.key(9))
    ):
        masks, earlier = masks_of(state), masks_of(before[1])
        found = sparse.check(params, sparse.get_masks(state), state)
        assert sorted(found) == sorted(others)
        first = first or [mask.sum() for mask in masks]
        assert [mask.sum() for mask in masks] == first
        for kernel, mask, old in zip(kernels_of(params), masks, earlier, strict=True):
            assert not kernel[mask & ~old].any()  # grown at 0
            assert (mask != old).any() == (number % PERIOD == 0)
        moved += not np.array_equal(params["hidden"]["bias"], before[0]["hidden"]["bias"])
    assert sum(first) == round(0.4 * 63)
    assert moved >= 3  # every second of seven with MultiSteps
    dense = sparse.get_masks(state) | {"hidden": sparse.get_masks(state)["hidden"]["bias"]}
    assert all(mask.all() for mask in jax.tree.leaves(dense))


def test_the_state_of_a_connection_is_cleared_when_it_goes_and_kept_while_it_stays():
    optimizer = make(optax.adam(1e-2), drop_fraction=0.5)
    start = random_tree(jax.random.key(9))
    for number, before, (_, state) in train(optimizer, start, 3, random_tree):
        if number % PERIOD:
            continue
        old, new = masks_of(before[1])[0], masks_of(state)[0]
        for moments in (state.inner[0].mu, state.inner[0].nu):
            moment = kernels_of(moments)[0]
            assert not moment[~(old & new)].any()
            assert moment[old & new].all()


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    sparsity=st.sampled_from([0.2, 0.6, 0.9]),
    name=st.sampled_from(["SET", "RIGL", "SNFS"]),
)
def test_counts_stay_and_moments_are_disjoint_from_the_absent(seed, sparsity, name):
    start = random_tree(jax.random.key(seed))
    optimizer = make(sparsity=sparsity, key=jax.random.key(seed), rules=getattr(sparse, name))
    counts = {tuple(mask.sum() for mask in masks_of(optimizer.init(start)))}
    for _, _, (params, state) in train(optimizer, start, steps=4):
        sparse.check(params, sparse.get_masks(state), state)
        counts.add(tuple(mask.sum() for mask in masks_of(state)))
    assert len(counts) == 1


# --- What it equals ------------------------------------------------------------------------------


def test_it_is_the_agents_own_step_and_adaptation():
    """Masks of its own aside, `sparsify` and a SparseNet make the same numbers."""
    sparsity = sparse.Sparsity(lambda path, leaf: path == "hidden/kernel")
    update = jax.jit(partial(sparse.step_and_adapt, optimizer=EXACT, sparsity=sparsity))
    optimizer = make(drop_fraction=0.25)
    params = whole_tree(jax.random.key(9))
    masks = sparse.get_masks(optimizer.init(params))
    params = sparse.apply_masks(params, masks, is_sparse=is_hidden_kernel)
    net = sparse.SparseNet(params, masks, EXACT.init(params))
    for number, _, (trained, state) in train(optimizer, params):
        key = jax.random.fold_in(jax.random.key(0), number)
        net = update(number % PERIOD == 0, key, net, whole_tree(jax.random.key(number)), 0.25)
        assert_trees_equal((trained, sparse.get_masks(state), state.inner), tuple(net))


def test_without_sparsity_it_is_the_bare_optimizer():
    inner = optax.adamw(1e-2)
    optimizer = make(inner, sparsity=0.0)
    params = bare = random_tree(jax.random.key(9))
    state, bare_state = optimizer.init(params), inner.init(bare)
    for number in range(1, 5):  # not jitted, so that both are equal to the last bit
        gradients = random_tree(jax.random.key(number))
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        updates, bare_state = inner.update(gradients, bare_state, bare)
        bare = optax.apply_updates(bare, updates)
        assert_trees_equal((params, state.inner), (bare, bare_state))


def test_eager_equals_jit_and_its_own_counter_equals_the_callers():
    optimizer = make()
    eager = whole_tree(jax.random.key(9))
    state = optimizer.init(eager)
    for number, _, (params, jitted) in train(optimizer, eager, steps=3):
        updates, state = optimizer.update(whole_tree(jax.random.key(number)), state, eager)
        eager = optax.apply_updates(eager, updates)
        assert_trees_equal(
            (eager, state.masks, state.inner, state.step), (params, *jitted[:2][::-1], number)
        )


def test_a_scan_equals_a_loop():
    optimizer, params = make(), whole_tree(jax.random.key(9))
    gradients = [whole_tree(jax.random.key(number)) for number in range(1, 5)]

    def body(carry, gradient):
        updates, state = optimizer.update(gradient, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
    (scanned, state), _ = jax.lax.scan(body, (params, optimizer.init(params)), stacked)
    *_, (_, _, (looped, expected)) = train(optimizer, params, steps=4)
    assert_trees_equal((scanned, state.masks), (looped, expected.masks))


def test_members_of_a_vmap_have_masks_of_their_own_and_equal_a_loop():
    keys = jax.random.split(jax.random.key(5), 3)
    params = whole_tree(jax.random.key(9))
    init = lambda key: make(key=key).init(params)  # noqa: E731
    states = jax.vmap(init)(keys)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), params)
    step = jax.vmap(step_of(make()), (0, 0, None, None))
    assert len({mask.tobytes() for mask in masks_of(states)[0]}) == 3
    for number in range(1, 5):
        members, states = step(members, states, whole_tree(jax.random.key(number)), number)
    for index, key in enumerate(keys):
        *_, (_, _, (alone, state)) = train(make(key=key), params, steps=4)
        one = jax.tree.map(lambda leaf, index=index: leaf[index], (members, states.masks))
        assert_trees_equal(one, (alone, state.masks))


def test_the_callers_step_stays_a_branch_under_vmap():
    params = random_tree(jax.random.key(9))
    states = jax.vmap(lambda key: make(key=key).init(params))(
        jax.random.split(jax.random.key(0), 2)
    )
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), params)

    def primitives(number):
        update = lambda g, s, p: make().update(g, s, p, step=number)  # noqa: E731
        jaxpr = jax.make_jaxpr(jax.vmap(update))(members, states, members)
        return {equation.primitive.name for equation in jaxpr.eqns}

    assert "cond" in primitives(jnp.int32(1)) and "while" not in primitives(jnp.int32(1))
    # The counterpart: a counter in each member's state makes every step pay for an adaptation.
    assert "cond" not in primitives(None) and "while" in primitives(None)


# --- Schedules -----------------------------------------------------------------------------------


def changes(optimizer, steps=9):
    return [
        number
        for number, before, (_, state) in train(optimizer, random_tree(jax.random.key(9)), steps)
        if any((a != b).any() for a, b in zip(masks_of(before[1]), masks_of(state), strict=True))
    ]


def test_it_adapts_at_multiples_of_the_period_up_to_the_last_step():
    assert changes(make()) == [3, 6, 9]
    assert changes(make(last_step=7)) == [3, 6]
    assert changes(make(rules=sparse.STATIC)) == []
    assert changes(make(drop_fraction=sparse.linear_fraction(0.5, 6))) == [3]


def test_step_0_of_a_callers_counter_adapts_nothing():
    optimizer, params = make(), random_tree(jax.random.key(9))
    state = optimizer.init(params)
    _, new = step_of(optimizer)(params, state, params, 0)
    assert_trees_equal(new.masks, state.masks)


def test_groups_hold_at_the_start_and_after_adaptations():
    """Of nine inputs, three threes with two connections each; or a fan-in by the paper's λ."""
    two_of_three = sparse.SET._replace(groups=sparse.n_of_m(2, 3))
    optimizer = make(sparsity=None, rules=two_of_three, period=1, drop_fraction=0.2)
    for _, before, (_, state) in train(optimizer, random_tree(jax.random.key(9)), steps=2):
        (mask,), (old,) = masks_of(state), masks_of(before[1])
        assert (mask.reshape(3, 3, 7).sum(axis=1) == 2).all() and (mask != old).any()

    fan_in = sparse.SET._replace(groups=sparse.constant_fan_in())
    optimizer = make(sparsity=None, density=sparse.erdos_renyi(2), rules=fan_in, period=1)
    for _, _, (_, state) in train(optimizer, random_tree(jax.random.key(9)), steps=1):
        # λ (n_in + n_out) / (n_in n_out) of nine inputs
        assert (masks_of(state)[0].sum(axis=0) == round(2 * (9 + 7) / 7)).all()


def test_gradual_pruning_starts_dense_and_follows_the_polynomial():
    from tests.sparse import reference_rules as slow

    gradual = sparse.Gradual(final=0.75, begin=2, end=6)
    optimizer = make(optax.adam(1e-2), gradual, period=2, distribution="uniform")
    for number, before, (params, state) in train(optimizer, random_tree(jax.random.key(9))):
        sparse.check(params, sparse.get_masks(state), state)
        for mask, old in zip(masks_of(state), masks_of(before[1]), strict=True):
            assert not (mask & ~old).any()
            share = 0.0 if number < 2 else slow.gradual(0.75, 0.0, 2, 6, number // 2 * 2)
            assert mask.sum() == round((1 - share) * mask.size)


def test_snfs_grows_by_an_average_of_the_dense_gradients(capsys):
    from tests.sparse import reference_rules as slow

    optimizer = make(rules=sparse.SNFS, momentum_decay=0.5, period=4)
    *_, (_, before, (params, state)) = train(optimizer, random_tree(jax.random.key(9)), steps=4)
    gradients = [kernels_of(whole_tree(jax.random.key(number)))[0] for number in range(1, 5)]
    momentum = slow.momentum(0.5, gradients)
    np.testing.assert_array_equal(kernels_of(state.momentum)[0], momentum)
    old, new = masks_of(before[1])[0], masks_of(state)[0]
    grown = new & ~old
    np.testing.assert_array_equal(grown, slow.grow_strongest(momentum, ~old, grown.sum()))
    sparse.summary(params, sparse.get_masks(state), state)
    printed = capsys.readouterr().out
    assert "momentum/hidden/kernel, 63 numbers, 252 bytes" in printed and "bias" not in printed


# --- Types, devices, wrapping --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats(dtype):
    with jax.enable_x64(dtype == "float64"):
        start = random_tree(jax.random.key(9), jnp.dtype(dtype))
        gradients = lambda key: random_tree(key, jnp.dtype(dtype))  # noqa: E731
        optimizer = make(optax.adam(1e-2), rules=sparse.RIGL, period=2)
        for _, _, (params, state) in train(optimizer, start, 2, gradients):
            assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
            sparse.check(params, sparse.get_masks(state), state)


def test_updates_of_a_narrower_dtype_still_leave_exactly_0():
    params = random_tree(jax.random.key(9))
    optimizer = make(
        optax.chain(EXACT, optax.stateless(lambda u, _: jax.tree.map(jnp.bfloat16, u)))
    )
    updates, state = optimizer.update(params, optimizer.init(params), params)
    sparse.check(optax.apply_updates(params, updates), sparse.get_masks(state))


def test_a_donated_state_leaves_the_callers_key():
    key = jax.random.key(3)
    optimizer, params = make(key=key), random_tree(jax.random.key(9))
    state = optimizer.init(params)
    jax.block_until_ready(jax.jit(optimizer.update, donate_argnums=1)(params, state, params))
    assert not key.is_deleted()


def test_on_a_mesh_with_replicated_params_and_not_with_others():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("data")
    optimizer, params = make(), whole_tree(jax.random.key(9))
    state = optimizer.init(params)

    def update(average, gradients, state, params):
        if average:
            gradients = jax.lax.pmean(gradients, "data")
        return optimizer.update(gradients, state, params)

    def on_mesh(average, params_are):
        specs = (split, everywhere, params_are)
        return jax.shard_map(
            partial(update, average), mesh=mesh, in_specs=specs, out_specs=everywhere
        )

    found = jax.jit(on_mesh(True, everywhere))(params, state, params)
    assert_trees_equal(found[0], optimizer.update(params, state, params)[0])
    with pytest.raises(
        ValueError, match="gradients must be the same on all devices, got hidden/bias"
    ):
        on_mesh(False, everywhere)(params, state, params)
    with pytest.raises(ValueError, match="params must be the same on all devices, .* over data"):
        on_mesh(True, split)(params, state, params)


def test_it_may_stand_inside_other_transformations():
    params = random_tree(jax.random.key(9))
    wrapped = optax.MultiSteps(optax.chain(optax.clip(1.0), make()), 2).gradient_transformation()
    state = wrapped.init(params)
    for _ in range(2):
        updates, state = jax.jit(wrapped.update)(params, state, params)
        params = optax.apply_updates(params, updates)
    masks = sparse.get_masks(state)
    assert jax.tree.structure(masks) == jax.tree.structure(params)
    sparse.check(params, masks, state)


def test_what_else_update_is_given_goes_to_the_optimizer():
    def update(updates, state, params=None, *, scale, **_):
        return jax.tree.map(lambda leaf: scale * leaf, updates), state

    inner = optax.GradientTransformationExtraArgs(lambda params: (), update)
    optimizer, params = make(inner), random_tree(jax.random.key(9))
    updates, _ = optimizer.update(params, optimizer.init(params), params, scale=2.0)
    np.testing.assert_array_equal(updates["hidden"]["bias"], 2 * params["hidden"]["bias"])


def test_its_updates_have_derivatives():
    """Through an optimizer's step, as meta-learning takes them: the select has its tangent."""
    optimizer, params = make(optax.sgd(0.5)), random_tree(jax.random.key(9))
    state = optimizer.init(params)

    def total(scale):
        gradients = jax.tree.map(lambda leaf: scale * jnp.ones_like(leaf), params)
        updates, _ = optimizer.update(gradients, state, params)
        return sum(leaf.sum() for leaf in jax.tree.leaves(updates))

    connections = sum(mask.sum() for mask in masks_of(state)) + 7 + 4 + 28
    np.testing.assert_allclose(jax.grad(total)(1.0), -0.5 * connections, rtol=1e-6)


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "give either sparsity or density, got neither"),
        ({"sparsity": 0.5, "density": 0.5}, "got sparsity and density"),
        ({"sparsity": 0.5, "period": 0}, "period must be at least 1, got 0"),
        ({"sparsity": 0.5, "drop_fraction": 2}, r"drop_fraction must be in \[0, 1\], got 2"),
        ({"sparsity": 0.5, "rules": sparse.OFFICIAL}, "grown_weight must be 'zero'"),
        (
            {"sparsity": 0.5, "rules": sparse.PAPER._replace(groups=sparse.n_of_m(2, 4))},
            "n_of_m groups fix the connections: leave out sparsity",
        ),
        (
            {"sparsity": 0.5, "rules": sparse.STATIC, "drop_fraction": 0.3},
            "drop_fraction has no effect",
        ),
        ({"sparsity": sparse.Gradual(0.9, 10, 110), "last_step": 3}, "last_step has no effect"),
        ({"sparsity": sparse.Gradual(0.9, 10, 15)}, "must be a multiple of period 100, got 5"),
        ({"sparsity": sparse.Gradual(0.9, 20, 10)}, "1 <= begin < end, got 20, 10"),
        ({"sparsity": sparse.Gradual(0.5, 1, 101, 0.6)}, "initial 0.6, final 0.5"),
        (
            {
                "sparsity": sparse.Gradual(0.9, 1, 101),
                "rules": sparse.PAPER._replace(groups=sparse.constant_fan_in()),
            },
            "groups do not go with a Gradual",
        ),
    ],
)
def test_settings_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        sparse.sparsify(EXACT, key=jax.random.key(0), **arguments)


def test_calls_that_cannot_be():
    optimizer, params = make(), random_tree(jax.random.key(9))
    state = optimizer.init(params)
    with pytest.raises(ValueError, match="sparsify needs params, got none"):
        optimizer.update(params, state)
    with pytest.raises(ValueError, match="one state of sparsify, got 0"):
        sparse.get_masks(EXACT.init(params))
    with pytest.raises(ValueError, match="one state of sparsify, got 2"):
        sparse.get_masks((state, state))
    with pytest.raises(ValueError, match="sparsity must be at most"):
        make(sparsity=0.999, is_sparse=sparse.is_kernel).init(params)
