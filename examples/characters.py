"""Prunes a character model gradually: dense at first, 80 % sparse at the end.

    $ python -m examples.characters

The text is Python's own documentation. The model predicts a character from the 16 before it. Its
embedding stays dense, by a predicate; its two layers are sparse.
"""

import argparse
from functools import partial
from pydoc_data import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax import sparse

CONTEXT, CHARACTERS, FEATURES, HIDDEN, BATCH = 16, 128, 16, 256, 64


def load() -> np.ndarray:
    """Returns the text as ASCII codes, uint8 `[n]`."""
    text = "\n".join(topics.topics.values())
    return np.frombuffer(text.encode("ascii", "replace"), np.uint8)


def is_layer(path: str, leaf: jax.ShapeDtypeStruct) -> bool:
    """Returns whether a leaf is a kernel, except for the embedding."""
    return sparse.is_kernel(path, leaf) and not path.startswith("embedding")


def init_params(key: jax.Array) -> dict[str, Any]:
    """Draws the weights, in a plain dictionary of arrays."""
    keys = jax.random.split(key, 3)
    n_in = CONTEXT * FEATURES
    return {
        "embedding": jax.random.normal(keys[0], (CHARACTERS, FEATURES)),
        "hidden": {
            "kernel": jax.random.normal(keys[1], (n_in, HIDDEN)) * (2 / n_in) ** 0.5,
            "bias": jnp.zeros(HIDDEN),
        },
        "output": {
            "kernel": jax.random.normal(keys[2], (HIDDEN, CHARACTERS)) * HIDDEN**-0.5,
            "bias": jnp.zeros(CHARACTERS),
        },
    }


def loss(params: dict[str, Any], windows: jax.Array) -> jax.Array:
    """Returns the mean cross entropy of each window's last character, in bits."""
    x = params["embedding"][windows[:, :-1]].reshape(len(windows), -1)
    x = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    logits = x @ params["output"]["kernel"] + params["output"]["bias"]
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, -1])
    return entropy.mean() / jnp.log(2)


@partial(jax.jit, static_argnames="steps")
def train(key: jax.Array, text: jax.Array, steps: int) -> tuple[Any, Any, jax.Array]:
    """Trains and returns params, masks, and the bits per character of every step `[steps]`."""
    gradual = sparse.Gradual(final=0.8, begin=steps // 10, end=steps // 10 + steps // 2)
    period = max(1, (gradual.end - gradual.begin) // 20)
    gradual = gradual._replace(end=gradual.begin + 20 * period)
    optimizer = sparse.sparsify(
        optax.adam(2e-3), gradual, key=key, period=period, is_sparse=is_layer
    )
    params = init_params(key)

    def body(carry: Any, step: jax.Array) -> tuple[Any, jax.Array]:
        params, state = carry
        starts = jax.random.randint(
            jax.random.fold_in(key, step), (BATCH, 1), 0, len(text) - CONTEXT
        )
        windows = text[starts + jnp.arange(CONTEXT + 1)[None]]
        bits, gradients = jax.value_and_grad(loss)(params, windows)
        updates, state = optimizer.update(gradients, state, params, step=step)
        return (optax.apply_updates(params, updates), state), bits

    (params, state), bits = jax.lax.scan(
        body, (params, optimizer.init(params)), 1 + jnp.arange(steps)
    )
    return params, sparse.get_masks(state), bits


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    count = parser.parse_args().steps
    params, masks, bits = train(jax.random.key(0), jnp.asarray(load(), jnp.int32), count)
    for name, part in (("first", bits[: count // 10]), ("last", bits[-count // 10 :])):
        print(f"{name} tenth: {part.mean():.3f} bits per character")
    sparse.summary(params, masks)
