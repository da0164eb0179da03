"""The largest entries of a kernel, by our search against sorting, and one pass that counts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dsrl_jax.sparse import keep_largest, select_largest
from dsrl_jax.sparse.selection import count_true, select_strongest
from experiments.bench.measure import Report, Side, in_turn, medians, ratio, spread, table, timed

# A pass that counts is so short that starting the loop would weigh in it.
PASSES = 50  # for each call of the others
TAU = 0.005  # of a target's average

Kernel = Float[Array, "n n"]


def run(repetitions: int, calls: int, size: int) -> Report:
    """Measures every method on one kernel, half of which is kept.

    The search of Algorithm 3 from nothing and from a threshold that was right one average ago, and
    that of Algorithm 2, whose scores have signs; a sort; and `top_k`.
    """
    count = size * size // 2

    def by_sort(kernel: Kernel) -> Kernel:
        magnitude = jnp.abs(kernel)
        return jnp.where(magnitude >= jnp.sort(magnitude.ravel())[-count], kernel, 0)

    def by_top_k(kernel: Kernel) -> Kernel:
        magnitude = jnp.abs(kernel)
        return jnp.where(magnitude >= jax.lax.top_k(magnitude.ravel(), count)[0][-1], kernel, 0)

    draw = np.random.default_rng(0)
    kernel, other = (jnp.asarray(draw.normal(size=(size, size)), jnp.float32) for _ in range(2))
    # As a target has moved since its threshold was found.
    _, near = select_strongest((1 - TAU) * kernel + TAU * other, count)
    everywhere = jnp.ones((size, size), bool)
    methods: dict[str, Callable[[Kernel], Array]] = {
        "search": lambda kernel: keep_largest(kernel, count),
        "search_near": lambda kernel: select_strongest(kernel, count, near)[0],
        "search_scores": lambda kernel: select_largest(kernel, everywhere, count),
        "sort": by_sort,
        "top_k": by_top_k,
        "count_true": lambda kernel: count_true(kernel >= 0),
        "count_sum": lambda kernel: jnp.sum(kernel >= 0),
    }
    times = {name: calls * (PASSES if name.startswith("count") else 1) for name in methods}
    sides = {name: repeated_side(methods[name], kernel, times[name]) for name in methods}
    seconds = in_turn(sides, repetitions)
    found = {name: [1e6 * taken / times[name] for taken in seconds[name]] for name in methods}
    samples = {f"{name}_microseconds": values for name, values in found.items()}
    results = medians(samples)
    for name in ("search_near", "search_scores", "sort", "top_k"):
        results[f"{name}_over_search"] = ratio(found[name], found["search"])
    results["count_sum_over_count_true"] = ratio(found["count_sum"], found["count_true"])
    rows = []
    for name, values in found.items():
        base = "count_true" if name.startswith("count") else "search"
        rows.append([name, *spread(values), f"{ratio(values, found[base]):.2f}"])
    head = [f"{size}x{size}, {count:,} kept", "microseconds", "lowest", "highest", "of ours"]
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

        return jax.lax.fori_loop(1, calls, call, method(kernel))

    jax.block_until_ready(repeat(kernel))
    return timed(lambda: jax.block_until_ready(repeat(kernel)))
