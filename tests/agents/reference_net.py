"""A network that `reference.py` trains, in float64 NumPy: gradients by differences."""

from functools import partial

import jax
import numpy as np

from tests import reference
from tests.agents.cases import is_hidden_kernel, leaves, moments


def numerical_gradient(loss, params, step=1e-6):
    """Central differences of `loss(params)`; `params` is a tree of float64 arrays."""

    def differentiate(leaf):
        gradient = np.zeros_like(leaf)
        for position in np.ndindex(leaf.shape):
            value = leaf[position]
            leaf[position] = value + step
            above = loss(params)
            leaf[position] = value - step
            below = loss(params)
            leaf[position] = value
            gradient[position] = (above - below) / (2 * step)
        return gradient

    return jax.tree.map(differentiate, params)


class ReferenceNet:
    """Params, masks and Adam's moments of one network or of both critics, in float64 NumPy."""

    def __init__(self, net, config):
        self.config, self.steps = config, 0
        self.params = jax.tree.map(partial(np.array, dtype=np.float64), net.params)
        self.masks = jax.tree.map(np.asarray, net.masks)
        self.target = jax.tree.map(np.copy, self.params)
        self.m, self.v = (jax.tree.map(np.zeros_like, self.params) for _ in range(2))

    def descend(self, loss):
        """One step; absent weights stay 0. Only the official moments see a dense gradient."""
        self.steps += 1
        gradient = numerical_gradient(loss, self.params)

        def step(mask, param, gradient, m, v):
            if self.config.sparse.moments == "sparse":
                gradient = np.where(mask, gradient, 0)
            param, m, v = reference.adam_l2_step(
                param,
                gradient,
                m,
                v,
                self.steps,
                self.config.learning_rate,
                self.config.weight_decay,
            )
            return np.where(mask, param, 0), m, v

        stepped = jax.tree.map(step, self.masks, self.params, gradient, self.m, self.v)
        self.params, self.m, self.v = jax.tree.transpose(
            jax.tree.structure(self.masks), jax.tree.structure((0, 0, 0)), stepped
        )

    def follow(self):
        """The target's soft update, and its sparsity in the hidden kernels."""
        keep = {"exact": reference.keep_largest, "strict": reference.keep_largest_strict}

        def average(path, target, param, mask):
            averaged = reference.polyak(target, param, self.config.tau)
            if not is_hidden_kernel(jax.tree_util.keystr(path, simple=True, separator="/")):
                return averaged
            return keep[self.config.sparse.target_ties](averaged, mask.sum())

        self.target = jax.tree_util.tree_map_with_path(
            average, self.target, self.params, self.masks
        )


def assert_trees_close(actual, expected, atol):
    actual, expected = leaves(actual), leaves(expected)
    assert actual.keys() == expected.keys()
    for path in actual:
        np.testing.assert_allclose(actual[path], expected[path], rtol=0, atol=atol, err_msg=path)


def assert_net_is(net, known):
    """The net's params and Adam's moments are the reference's; a step is 1e-2."""
    assert_trees_close(net.params, known.params, atol=1e-6)
    for moment, known_moment in zip(moments(net), (known.m, known.v), strict=True):
        assert_trees_close(moment, known_moment, atol=1e-8)
