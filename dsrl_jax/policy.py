"""Loads and runs an exported policy on small devices; needs only this file and NumPy.

`dsrl_jax.export_policy` writes the `.npz` file, which has neither pickles nor code. A layer is a
list of connections with an input, an output and a weight each, ordered by output.
"""

from typing import NamedTuple

import numpy as np

# From this share of connections on, a dense product is faster than a sum over the list
# (`python -m experiments.bench export`). The list needs less memory, and the file always has lists.
DENSE_FROM = 0.01


class Layer(NamedTuple):
    """One layer, as a list of connections and, if that is faster, a dense kernel.

    kernel: float32 [n_in, n_out], or None
    inputs: int [connections]
    outputs: int [connections], ascending
    weights: float32 [connections]
    bias: float32 [n_out]
    """

    kernel: np.ndarray | None
    inputs: np.ndarray
    outputs: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


class ExportedPolicy(NamedTuple):
    """Layers with ReLU between them and tanh after the last, and the action's bounds."""

    layers: tuple[Layer, ...]
    action_low: np.ndarray  # float32 [n_action]
    action_high: np.ndarray


def load(path: str, dense_from: float = DENSE_FROM) -> ExportedPolicy:
    """Reads a policy that `export_policy` wrote.

    Args:
      dense_from: layers with at least this share of connections get a dense kernel; 0 means all
        layers, 2 none.
    """
    with np.load(path, allow_pickle=False) as arrays:
        count = int(arrays["layers"])
        layers = tuple(_read_layer(arrays, index, dense_from) for index in range(count))
        return ExportedPolicy(layers, arrays["action_low"], arrays["action_high"])


def act(policy: ExportedPolicy, observation: np.ndarray) -> np.ndarray:
    """Returns the deterministic action `[n_action]` for one observation `[n_observation]`."""
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


def _read_layer(arrays: np.lib.npyio.NpzFile, index: int, dense_from: float) -> Layer:
    inputs, degrees = arrays[f"inputs_{index}"], arrays[f"degrees_{index}"]
    weights, bias = arrays[f"weights_{index}"], arrays[f"bias_{index}"]
    n_in, n_out = int(arrays[f"n_in_{index}"]), len(bias)
    inputs, outputs = inputs.astype(np.int64), np.repeat(np.arange(n_out), degrees)
    kernel = None
    if len(weights) >= dense_from * n_in * n_out:
        kernel = np.zeros((n_in, n_out), np.float32)
        kernel[inputs, outputs] = weights
    return Layer(kernel, inputs, outputs, weights, bias)
