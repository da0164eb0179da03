"""A trained policy for small devices: this file and NumPy are all that it needs.

`dsrl_jax.export_policy` writes the `.npz` that is read here: no pickle, no program. A layer is a
list of connections: the input, the output and the weight of each, in order of the outputs.
"""

from typing import NamedTuple

import numpy as np

# From this share of connections on, a dense product takes less time than a sum over a list of them
# (`python -m experiments.bench export`). The list takes less memory, and the file is always one.
DENSE_FROM = 0.01


class Layer(NamedTuple):
    """One layer: `kernel` dense `[n_in, n_out]`, or None, and then a list of connections."""

    kernel: np.ndarray | None
    inputs: np.ndarray  # int [connections], ascending by output
    outputs: np.ndarray  # int [connections]
    weights: np.ndarray  # float32 [connections]
    bias: np.ndarray  # float32 [n_out]


class ExportedPolicy(NamedTuple):
    """Layers with ReLU between them, tanh after the last, stretched to the action's bounds."""

    layers: tuple[Layer, ...]
    action_low: np.ndarray  # float32 [n_action]
    action_high: np.ndarray


def load(path: str, dense_from: float = DENSE_FROM) -> ExportedPolicy:
    """Reads what `export_policy` wrote.

    Args:
      dense_from: layers with at least this share of connections are unpacked to dense arrays: 0
        unpacks all, 2 none.
    """
    with np.load(path, allow_pickle=False) as held:
        count = int(held["layers"])
        layers = tuple(_read_layer(held, index, dense_from) for index in range(count))
        return ExportedPolicy(layers, held["action_low"], held["action_high"])


def act(policy: ExportedPolicy, observation: np.ndarray) -> np.ndarray:
    """The deterministic action `[n_action]` for one observation `[n_observation]`."""
    x = np.asarray(observation, np.float32)
    for layer in policy.layers[:-1]:
        x = np.maximum(_apply(layer, x), 0)
    squashed = np.tanh(_apply(policy.layers[-1], x))
    low, high = policy.action_low, policy.action_high
    return (high + low) / 2 + (high - low) / 2 * squashed


def _apply(layer: Layer, x: np.ndarray) -> np.ndarray:
    if layer.kernel is not None:
        return x @ layer.kernel + layer.bias
    products = layer.weights * x[layer.inputs]
    total = np.bincount(layer.outputs, products, minlength=len(layer.bias))
    return total.astype(np.float32) + layer.bias


def _read_layer(held: np.lib.npyio.NpzFile, index: int, dense_from: float) -> Layer:
    inputs, degrees = held[f"inputs_{index}"], held[f"degrees_{index}"]
    weights, bias = held[f"weights_{index}"], held[f"bias_{index}"]
    n_in, n_out = int(held[f"n_in_{index}"]), len(bias)
    inputs, outputs = inputs.astype(np.int64), np.repeat(np.arange(n_out), degrees)
    kernel = None
    if len(weights) >= dense_from * n_in * n_out:
        kernel = np.zeros((n_in, n_out), np.float32)
        kernel[inputs, outputs] = weights
    return Layer(kernel, inputs, outputs, weights, bias)
