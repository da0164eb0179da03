"""Layers of real Flax models: which leaves are sparse by default, and that they train.

The agents use Flax; `dsrl_jax.sparse` only knows paths and shapes.
"""

import flax.linen as nn
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax import sparse


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        y = nn.LayerNorm()(x)
        y = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)(y, y)
        return x + nn.Dense(8)(nn.relu(y)), None


class Model(nn.Module):
    """An embedding, two scanned blocks with attention, a convolution and a head."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(16, 8)(tokens)
        scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        x, _ = scanned(name="blocks")(x, None)
        x = nn.BatchNorm(use_running_average=True, name="norm")(nn.Conv(8, (3,))(x))
        return nn.Dense(5, name="head")(x.mean(axis=-2))


def is_stacked(path, shape):
    return int(path.startswith("blocks/"))


def test_a_model_of_many_layers_trains_on_its_connections():
    model, tokens = Model(), jnp.arange(12).reshape(2, 6)
    variables = model.init(jax.random.key(0), tokens)
    params, rest = variables["params"], {"batch_stats": variables["batch_stats"]}
    optimizer = sparse.sparsify(
        optax.adamw(1e-2),
        0.8,
        key=jax.random.key(1),
        period=1,
        rules=sparse.RIGL,
        stacked_axes=is_stacked,
    )
    state = optimizer.init(params)
    masks = sparse.get_masks(state)
    sparse_paths = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, mask in jax.tree_util.tree_flatten_with_path(masks)[0]
        if not mask.all()
    }
    attention = [
        f"MultiHeadDotProductAttention_0/{name}" for name in ("key", "out", "query", "value")
    ]
    assert sparse_paths <= {
        "Conv_0/kernel",
        "Embed_0/embedding",
        "head/kernel",
        *(f"blocks/{name}/kernel" for name in ["Dense_0", *attention]),
    }
    assert len(sparse_paths) >= 5  # ERK leaves small ones dense
    counts = jax.tree.map(jnp.sum, masks)

    @jax.jit
    def step(params, state):
        loss = lambda params: (model.apply({"params": params} | rest, tokens) ** 2).sum()  # noqa: E731
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(2):
        params, state = step(params, state)
        sparse.check(params, sparse.get_masks(state), state)
    jax.tree.map(
        np.testing.assert_array_equal, jax.tree.map(jnp.sum, sparse.get_masks(state)), counts
    )


def test_nnx_states_are_trees_like_any_other():
    model = nnx.Linear(12, 10, rngs=nnx.Rngs(0))
    _, params = nnx.split(model, nnx.Param)
    optimizer = sparse.sparsify(optax.adam(1e-2), 0.5, key=jax.random.key(0), period=1)
    state = optimizer.init(params)
    updates, state = optimizer.update(params, state, params)
    params = optax.apply_updates(params, updates)
    masks = sparse.get_masks(state)
    assert sparse.check(params, masks, state) == ("0/count",)
    nnx.update(model, params)
    assert (model.kernel[...] != 0).sum() <= 60
    assert sparse.count_connections(masks) == 60
