"""Optimizers, a tiny tree, and a training loop for the tests of `sparsify`."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax import sparse

SHAPES = {"hidden": {"bias": (7,), "kernel": (9, 7)}, "output": {"bias": (4,), "kernel": (7, 4)}}
# One sparse kernel is enough and halves the compile time; the predicate keeps the other dense.
KERNELS = [("hidden", "kernel")]
PERIOD = 3
# For gradients that are whole numbers, every result of this optimizer is exact in float32.
EXACT = optax.sgd(0.25, momentum=0.5)


def is_hidden_kernel(path, leaf):
    return path == "hidden/kernel" and leaf.dtype != bool  # sees params, never masks


def labels(params):
    return {"hidden": {"bias": "a", "kernel": "b"}, "output": "a"}


# Each with the paths in its state that follow no parameter.
OPTIMIZERS = {
    "adam": (optax.adam(1e-2), ["0/count"]),
    "adamw": (optax.adamw(1e-2), ["0/count"]),
    "momentum": (EXACT, []),
    "rprop": (optax.rprop(1e-2), []),  # its step sizes do not start at 0
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
    """Returns `sparsify`; if only the keys differ, two of them share `update` and its program."""
    settings = {"period": PERIOD, "is_sparse": is_hidden_kernel} | settings
    key = jax.random.key(0) if key is None else key
    optimizer = sparse.sparsify(inner, sparsity, key=key, **settings)
    return optimizer._replace(update=_update_of(inner, sparsity, tuple(sorted(settings.items()))))


@cache
def _update_of(inner, sparsity, settings):
    return sparse.sparsify(inner, sparsity, key=jax.random.key(0), **dict(settings)).update


def step_of(optimizer):
    return _compiled_step(optimizer.update)


@cache
def _compiled_step(update):
    """Returns the jitted step of an `update`."""

    @jax.jit
    def step(params, state, gradients, number):
        updates, state = update(gradients, state, params, step=number)
        return optax.apply_updates(params, updates), state

    return step


def forget_steps():
    """Drops the compiled steps of a module, as `forget_programs` does."""
    _compiled_step.cache_clear()


def train(optimizer, params, steps=7, gradients=whole_tree):
    """Yields (number, before, after) for every update; before and after are (params, state)."""
    step, now = step_of(optimizer), (params, optimizer.init(params))
    for number in range(1, steps + 1):
        before, now = now, step(*now, gradients(jax.random.key(number)), number)
        yield number, before, now


def masks_of(state):
    masks = sparse.get_masks(state)
    return [np.asarray(masks[layer][leaf]) for layer, leaf in KERNELS]


def kernels_of(tree):
    return [np.asarray(tree[layer][leaf]) for layer, leaf in KERNELS]
