"""The largest entries of a kernel, by bisection against sorting, and one pass that counts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrl_jax.sparse import keep_largest
from dsrl_jax.sparse.selection import count_true
from experiments.bench.measure import Report, Side, in_turn, median, ratio, spread, table, timed

# A pass that counts is so short that starting the loop would weigh in it.
PASSES = 50  # for each call of the others

Kernel = Float[Array, "n n"]


def run(repetitions: int, calls: int, size: int) -> Report:
    """Measures every method on one kernel, half of which is kept."""
    count = size * size // 2

    def by_sort(kernel: Kernel) -> Kernel:
        magnitude = jnp.abs(kernel)
        return jnp.where(magnitude >= jnp.sort(magnitude.ravel())[-count], kernel, 0)

    def by_top_k(kernel: Kernel) -> Kernel:
        magnitude = jnp.abs(kernel)
        return jnp.where(magnitude >= jax.lax.top_k(magnitude.ravel(), count)[0][-1], kernel, 0)

    methods: dict[str, Callable[[Kernel], Array]] = {
        "bisection": lambda kernel: keep_largest(kernel, count),
        "sort": by_sort,
        "top_k": by_top_k,
        "count_true": lambda kernel: count_true(kernel >= 0),
        "count_sum": lambda kernel: jnp.sum(kernel >= 0),
    }
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(size, size)), jnp.float32)
    times = {name: calls * (PASSES if name.startswith("count") else 1) for name in methods}
    sides = {name: repeated_side(methods[name], kernel, times[name]) for name in methods}
    seconds = in_turn(sides, repetitions)
    found = {name: [1e6 * taken / times[name] for taken in seconds[name]] for name in methods}
    results = {f"{name}_microseconds": median(values) for name, values in found.items()}
    for name in ("sort", "top_k"):
        results[f"{name}_over_bisection"] = ratio(found[name], found["bisection"])
    results["count_sum_over_count_true"] = ratio(found["count_sum"], found["count_true"])
    rows = []
    for name, values in found.items():
        base = "count_true" if name.startswith("count") else "bisection"
        rows.append([name, *spread(values), f"{ratio(values, found[base]):.2f}"])
    head = [f"{size}x{size}, {count:,} kept", "microseconds", "lowest", "highest", "of ours"]
    samples = {f"{name}_microseconds": values for name, values in found.items()}
    return Report((table(head, rows),), results, samples)


def repeated_side(method: Callable[[Kernel], Array], kernel: Kernel, calls: int) -> Side:
    """A side that calls a method `calls` times in one compiled loop.

    Each call's kernel depends on the result before, so that none of it is done once for all; that
    adds one pass over the kernel, or none where the compiler joins it to the method's first.
    """

    @jax.jit
    def repeat(kernel: Kernel) -> Array:
        def call(_: int, last: Array) -> Array:
            return method(kernel + 0.0 * last.astype(kernel.dtype))

        return jax.lax.fori_loop(0, calls, call, method(kernel))

    jax.block_until_ready(repeat(kernel))
    return timed(lambda: jax.block_until_ready(repeat(kernel)))
