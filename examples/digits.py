"""Compares SET, RigL and a static topology with a dense network on handwritten digits.

    $ python -m examples.digits

A network of two hidden layers learns scikit-learn's bundled 8x8 digits. All seeds train in one
compiled program under `vmap`, each with different masks; they share the step counter, so that the
adaptation stays a branch. Prints the mean accuracy on test digits, in percent.
"""

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax import sparse

try:
    from sklearn.datasets import load_digits
except ModuleNotFoundError:
    raise SystemExit("scikit-learn is missing: pip install -e '.[examples]'") from None

HIDDEN, CLASSES = 128, 10
STEPS, BATCH = 5000, 64
TEST_SHARE = 0.25
# Adaptations end after three quarters of the training, as in RigL (Evci et al. 2020).
RULES = {"static": sparse.STATIC, "SET": sparse.SET, "RigL": sparse.RIGL}
CHANGES: dict[str, Any] = {
    "drop_fraction": sparse.cosine_fraction(0.3, STEPS * 3 // 4),
    "period": 100,
    "last_step": STEPS * 3 // 4,
}


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Loads the training and the test digits: pixels `[n, 64]` in [0, 1], classes `[n]`."""
    pixels, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(classes))
    pixels, classes = (pixels[order] / 16).astype(np.float32), classes[order]
    n_test = round(TEST_SHARE * len(classes))
    return (pixels[n_test:], classes[n_test:]), (pixels[:n_test], classes[:n_test])


def init_params(key: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """Draws kernels by He's normal distribution, with biases of 0; a plain dictionary of arrays."""
    sizes = (64, HIDDEN, HIDDEN, CLASSES)
    keys = jax.random.split(key, len(sizes) - 1)
    return {
        f"layer_{i}": {
            "kernel": jax.random.normal(keys[i], sizes[i : i + 2]) * (2 / sizes[i]) ** 0.5,
            "bias": jnp.zeros(sizes[i + 1]),
        }
        for i in range(len(keys))
    }


def apply(params: dict[str, dict[str, jax.Array]], pixels: jax.Array) -> jax.Array:
    """Returns logits `[n, 10]`."""
    *hidden, last = params.values()
    for layer in hidden:
        pixels = jax.nn.relu(pixels @ layer["kernel"] + layer["bias"])
    return pixels @ last["kernel"] + last["bias"]


def make_optimizer(key: jax.Array, method: str, sparsity: float) -> Any:
    """Returns Adam, wrapped in `sparsify` unless the method is "dense"."""
    adam = optax.adam(1e-3)
    if method == "dense":
        return optax.with_extra_args_support(adam)
    changes = {} if method == "static" else CHANGES
    return sparse.sparsify(adam, sparsity, key=key, rules=RULES[method], **changes)


@partial(jax.jit, static_argnames=("method", "sparsity"))
def train(keys: jax.Array, method: str, sparsity: float, data: Any, test: Any) -> jax.Array:
    """Trains a network for each key and returns their accuracies on the test digits `[keys]`."""

    def loss(params: Any, pixels: jax.Array, classes: jax.Array) -> jax.Array:
        logits = apply(params, pixels)
        return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()

    def start(key: jax.Array) -> Any:
        key_params, key_masks = jax.random.split(key)
        params = init_params(key_params)
        return params, make_optimizer(key_masks, method, sparsity).init(params)

    def update(key: jax.Array, member: Any, step: jax.Array) -> Any:
        params, state = member
        rows = jax.random.randint(jax.random.fold_in(key, step), (BATCH,), 0, len(data[1]))
        gradients = jax.grad(loss)(params, data[0][rows], data[1][rows])
        optimizer = make_optimizer(key, method, sparsity)
        updates, state = optimizer.update(gradients, state, params, step=step)
        return optax.apply_updates(params, updates), state

    def body(members: Any, step: jax.Array) -> tuple[Any, None]:
        return jax.vmap(update, (0, 0, None))(keys, members, step), None

    (params, _), _ = jax.lax.scan(body, jax.vmap(start)(keys), 1 + jnp.arange(STEPS))
    logits = jax.vmap(apply, (0, None))(params, test[0])
    return (logits.argmax(-1) == test[1]).mean(axis=1)


def run(seeds: int) -> str:
    """Returns a Markdown table of accuracies: mean and standard deviation over the seeds."""
    data, test = load()
    keys = jax.random.split(jax.random.key(0), seeds)
    measure = lambda method, sparsity: _cell(train(keys, method, sparsity, data, test))  # noqa: E731
    lines = ["| sparsity | dense | RigL | SET | static |", "|---|---|---|---|---|"]
    dense = measure("dense", 0.0)
    for sparsity in (0.5, 0.9, 0.98):
        cells = [measure(method, sparsity) for method in ("RigL", "SET", "static")]
        lines.append(f"| {sparsity:.0%} | {' | '.join([dense, *cells])} |")
    return "\n".join(lines)


def _cell(accuracies: jax.Array) -> str:
    percent = 100 * np.asarray(accuracies)
    return f"{percent.mean():.2f} ± {percent.std(ddof=1) if len(percent) > 1 else 0:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=5, help="number of networks, trained in one program"
    )
    print(run(parser.parse_args().seeds))
