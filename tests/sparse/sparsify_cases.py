"""What the tests of `sparsify` share: optimizers, a tiny tree, and a training loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

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
    "rprop": (optax.rprop(1e-2), []),  # step sizes, of which none starts at 0
    "adagrad": (optax.adagrad(1e-2, initial_accumulator_value=0.1), []),
    "adabelief": (optax.adabelief(1e-2, eps_root=1e-3), ["0/count"]),
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
