"""Sweeps over sparsities in one compiled program: each member of a `vmap` has its own.

    $ python -m examples.sweep

The sparsity is a traced number, so that all members share the program. The task is that of
`digits.py`.
"""

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax import sparse
from examples import digits

SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)


@partial(jax.jit, static_argnames="steps")
def train(sparsities: jax.Array, data: Any, test: Any, steps: int) -> tuple[jax.Array, jax.Array]:
    """Trains a member per sparsity; returns test accuracies and connection counts `[members]`."""

    def make(sparsity: Any) -> Any:
        return sparse.sparsify(
            optax.adam(1e-3), sparsity, key=jax.random.key(1), rules=sparse.SET, period=100
        )

    def loss(params: Any, rows: jax.Array) -> jax.Array:
        logits = digits.apply(params, data[0][rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, data[1][rows]).mean()

    params = digits.init_params(jax.random.key(0))
    states = jax.vmap(lambda sparsity: make(sparsity).init(params))(sparsities)
    members = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(sparsities)), params)

    def update(rows: jax.Array, step: jax.Array, params: Any, state: Any, sparsity: Any) -> Any:
        gradients = jax.grad(loss)(params, rows)
        updates, state = make(sparsity).update(gradients, state, params, step=step)
        return optax.apply_updates(params, updates), state

    def body(carry: Any, step: jax.Array) -> tuple[Any, None]:
        key = jax.random.fold_in(jax.random.key(2), step)
        rows = jax.random.randint(key, (digits.BATCH,), 0, len(data[1]))
        # All members share the step, so that an adaptation stays a branch.
        params, states = carry
        return jax.vmap(partial(update, rows, step))(params, states, sparsities), None

    (members, states), _ = jax.lax.scan(body, (members, states), 1 + jnp.arange(steps))
    logits = jax.vmap(digits.apply, (0, None))(members, test[0])
    accuracy = (logits.argmax(-1) == test[1]).mean(axis=1)
    return accuracy, jax.vmap(sparse.count_connections)(sparse.get_masks(states))


def run(steps: int) -> str:
    """Returns a Markdown table."""
    data, test = digits.load()
    found = train(jnp.array(SPARSITIES), data, test, steps)
    lines = ["| sparsity | connections | accuracy, % |", "|---|---|---|"]
    for sparsity, accuracy, count in zip(SPARSITIES, *map(np.asarray, found), strict=True):
        lines.append(f"| {sparsity:.0%} | {count:,} | {100 * accuracy:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    print(run(parser.parse_args().steps))
