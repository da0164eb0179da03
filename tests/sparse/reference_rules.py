"""The other papers' rules as slow NumPy loops, written from those papers.

Notation as in tests/reference.py. A group is `size` consecutive inputs of one output, in C order of
all axes but the last.
"""

import math

import numpy as np

from tests.reference import floor_of_share, select_largest, select_smallest


def drop_magnitude(kernel, mask, drop_fraction, room):
    """RigL (Evci et al. 2020), Algorithm 1: the k smallest |θ| of the active connections."""
    count = min(floor_of_share(drop_fraction, int(mask.sum())), int(room))
    return select_smallest(np.abs(kernel), mask, count)


def drop_sensitivity(kernel, mask, gradient, drop_fraction, room):
    """|θ ∂L/∂θ|: what a weight's removal costs to first order (Molchanov et al. 2017, eq. 7)."""
    count = min(floor_of_share(drop_fraction, int(mask.sum())), int(room))
    return select_smallest(np.abs(kernel * gradient), mask, count)


def grow_strongest(signal, candidates, count):
    """RigL: ArgTopK |∇L| of the candidates; SNFS (Dettmers & Zettlemoyer 2019): of the momentum."""
    return select_largest(np.abs(signal), candidates, count)


def groups(shape, size=None):
    """Lists of positions, one list a group."""
    inputs = list(np.ndindex(*shape[:-1]))
    size = size or len(inputs)
    return [
        [(*position, output) for position in inputs[start : start + size]]
        for output in range(shape[-1])
        for start in range(0, len(inputs), size)
    ]


def cap_by_group(kernel, mask, dropped, size=None):
    """Of those dropped in a group the smallest stay dropped, as many as it has empty places."""
    capped = np.zeros_like(dropped)
    for group in groups(kernel.shape, size):
        room = sum(not mask[position] for position in group)
        gone = [position for position in group if dropped[position]]
        for position in sorted(gone, key=lambda each: abs(kernel[each]))[:room]:
            capped[position] = True
    return capped


def count_by_group(marks, size=None):
    return [sum(bool(marks[each]) for each in group) for group in groups(marks.shape, size)]


def cosine(first, steps, step):
    """f_decay(t) = α/2 (1 + cos(tπ / T_end)); RigL, Section 3 (3)."""
    return 0.0 if step >= steps else first / 2 * (1 + math.cos(step * math.pi / steps))


def gradual(final, initial, begin, end, step):
    """s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n Δt))^3; Zhu & Gupta 2017, eq. 1."""
    step = min(max(step, begin), end)
    return final + (initial - final) * (1 - (step - begin) / (end - begin)) ** 3


def momentum(decay, gradients):
    """M_t = α M_{t-1} + (1 - α) ∂E/∂W; SNFS, Section 3.1."""
    value = np.zeros_like(gradients[0])
    for gradient in gradients:
        value = decay * value + (1 - decay) * gradient
    return value


def erk(shapes, connections):
    """Densities ε Σ axes / Π axes, clipped, that have `connections` in all; RigL, Section 3 (1).

    By bisection on ε.
    """
    low, high = 0.0, max(math.prod(shape) for shape in shapes)
    for _ in range(200):
        middle = (low + high) / 2
        densities = [min(1.0, middle * sum(shape) / math.prod(shape)) for shape in shapes]
        total = sum(d * math.prod(shape) for d, shape in zip(densities, shapes, strict=True))
        low, high = (middle, high) if total < connections else (low, middle)
    return densities
