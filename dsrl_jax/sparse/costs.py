"""Connections and floating-point operations, in plain Python numbers.

The conventions are the paper's: weights of kernels only, no biases, no targets; 2 FLOPs a
connection; a training step costs three forward passes.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Layer(NamedTuple):
    """One kernel. density: the share of its `n_in * n_out` weights that is connected."""

    name: str
    n_in: int
    n_out: int
    density: float

    @property
    def weights(self) -> int:
        """Positions in the kernel."""
        return self.n_in * self.n_out

    @property
    def connections(self) -> float:
        """Expected connections; a whole number only by chance."""
        return self.density * self.weights


def count_weights(layers: Sequence[Layer]) -> int:
    """Weights of the dense network (eq. 10 without sparsity)."""
    return sum(layer.weights for layer in layers)


def expected_connections(layers: Sequence[Layer]) -> float:
    """Expected connections (eq. 10)."""
    return sum(layer.connections for layer in layers)


def training_flops(
    critic_connections: float,
    actor_connections: float,
    *,
    batch_size: int,
    updates: float,
    policy_delay: int = 1,
) -> float:
    """3 x forward FLOPs x batch x updates; the actor at every `policy_delay`-th update.

    Args:
      critic_connections: of both critics together.
      updates: the paper counts one per environment step, its random steps included.
    """
    per_sample = 3 * 2 * (critic_connections + actor_connections / policy_delay)
    return per_sample * batch_size * updates
