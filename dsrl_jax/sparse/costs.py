"""Counts connections, floating-point operations and bytes, in plain Python numbers.

The conventions are the paper's: weights of kernels only, no biases, no targets; 2 FLOPs per
connection; a training step costs three forward passes.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Layer(NamedTuple):
    """One kernel. density: the connected share of its `n_in * n_out` weights."""

    name: str
    n_in: int
    n_out: int
    density: float

    @property
    def weights(self) -> int:
        """Number of positions in the kernel."""
        return self.n_in * self.n_out

    @property
    def connections(self) -> float:
        """Expected number of connections; rarely a whole number."""
        return self.density * self.weights


# float32 values, int32 indices; a boolean takes a byte.
_NUMBER, _INDEX, _BOOLEAN = 4, 4, 1


def count_weights(layers: Sequence[Layer]) -> int:
    """Counts the weights of the dense network (eq. 10 without sparsity)."""
    return sum(layer.weights for layer in layers)


def expected_connections(layers: Sequence[Layer]) -> float:
    """Returns the expected number of connections (eq. 10)."""
    return sum(layer.connections for layer in layers)


def training_flops(
    critic_connections: float,
    actor_connections: float,
    *,
    batch_size: int,
    updates: float,
    policy_delay: int = 1,
) -> float:
    """Returns 3 x forward FLOPs x batch x updates; the actor at every `policy_delay`-th update.

    Args:
      critic_connections: of both critics together.
      updates: the paper counts one per environment step, including the random steps.
    """
    per_sample = 3 * 2 * (critic_connections + actor_connections / policy_delay)
    return per_sample * batch_size * updates


def inference_flops(connections: float) -> float:
    """Returns the FLOPs of one forward pass on one sample, 2 per connection."""
    return 2 * connections


def stored_bytes(layers: Sequence[Layer]) -> int:
    """Returns the bytes of parameters as stored here: dense float32 and a mask, with biases."""
    parameters = count_weights(layers) + sum(layer.n_out for layer in layers)
    return parameters * (_NUMBER + _BOOLEAN)


def sparse_bytes(layers: Sequence[Layer]) -> float:
    """Returns the bytes of parameters with sparse kernels in compressed rows (CSR).

    Of the expected connections: a value and a column each, and one index more per row.
    """
    total: float = sum(layer.n_out for layer in layers) * _NUMBER
    for layer in layers:
        if layer.density == 1:
            total += layer.weights * _NUMBER
        else:
            total += layer.connections * (_NUMBER + _INDEX) + (layer.n_in + 1) * _INDEX
    return total
