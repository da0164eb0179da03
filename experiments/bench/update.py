"""Updates a second of every algorithm, and of the best matrix product that dense ones reach."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.bench.flops import product_flops, update_flops
from experiments.bench.measure import (
    Report,
    Side,
    in_turn,
    median,
    rates,
    show,
    spread,
    table,
    timed,
)
from experiments.bench.measure import ratio as ratio_of
from experiments.bench.workload import SPACES, agent_config, scan_side

# FLOPs in one measurement of a product, and at most so many rounds: small ones take long.
PRODUCT_WORK, MOST_ROUNDS = 4e9, 1000

DENSE = ("td3", "sac")

Product = tuple[int, int, int]  # [rows, inner] @ [inner, columns]


def run(
    repetitions: int,
    updates: int,
    algos: tuple[str, ...],
    hidden_sizes: tuple[int, ...],
    products: tuple[int, ...],
) -> Report:
    """Measures every algorithm, with the dense one that it is compared with, and every product."""
    dense_algos = [name for name in DENSE if any(algo.endswith(name) for algo in algos)]
    algos = tuple(dict.fromkeys([*dense_algos, *algos]))
    configs = {name: agent_config(name, hidden_sizes) for name in algos}
    own = {
        name: (configs[name].batch_size, hidden_sizes[0], hidden_sizes[-1]) for name in dense_algos
    }
    found_products = dict.fromkeys([*own.values(), *((size,) * 3 for size in products)])
    work = {product: product_flops(*product) * 2 * rounds(product) for product in found_products}
    sides: dict[str | Product, Side] = {
        name: scan_side(name, updates, hidden_sizes) for name in algos
    }
    sides |= {product: product_side(product) for product in found_products}

    seconds = in_turn(sides, repetitions)
    updates_per_second = {name: rates(seconds[name], updates) for name in algos}
    gflops = {product: rates(seconds[product], work[product] / 1e9) for product in found_products}
    best = max(gflops, key=lambda product: median(gflops[product]))

    medians = {name: median(found) for name, found in updates_per_second.items()}
    results = {f"{name}_per_second": rate for name, rate in medians.items()}
    for name in algos:
        dense = name.split("_")[-1]
        results[f"{name}_over_{dense}"] = ratio_of(
            updates_per_second[name], updates_per_second[dense]
        )
    results["best_product_gflops"] = median(gflops[best])
    for name in dense_algos:
        flops = update_flops(SPACES, configs[name])
        results[f"{name}_flops_per_update"] = flops
        results[f"{name}_gflops"] = reached = medians[name] * flops / 1e9
        results[f"{name}_over_best_product"] = reached / median(gflops[best])
        results[f"{name}_over_own_product"] = reached / median(gflops[own[name]])
    samples = {f"{name}_per_second": found for name, found in updates_per_second.items()}
    samples |= {f"{describe(product)} gflops": found for product, found in gflops.items()}
    return Report(_tables(updates_per_second, gflops, results), results, samples)


def _tables(
    updates_per_second: dict[str, list[float]],
    gflops: dict[Product, list[float]],
    results: dict[str, float],
) -> tuple[str, str]:
    rows = []
    for name, found in updates_per_second.items():
        shares = ("gflops", "over_own_product", "over_best_product")
        cells = [show(results[f"{name}_{share}"]) if name in DENSE else "" for share in shares]
        of_dense = f"{results[f'{name}_over_' + name.split('_')[-1]]:.2f}"
        rows.append([name, *spread(found), of_dense, *cells])
    head = ["method", "updates/s", "lowest", "highest", "of dense"]
    head += ["GFLOP/s", "of own product", "of best product"]
    products = [[describe(product), *spread(found)] for product, found in gflops.items()]
    return (
        table(head, rows),
        table(["matrix product, float32", "GFLOP/s", "lowest", "highest"], products),
    )


def describe(product: Product) -> str:
    """The shapes that are multiplied."""
    rows, inner, columns = product
    return f"{rows}x{inner} @ {inner}x{columns}"


def rounds(product: Product) -> int:
    """How many times one measurement goes there and back."""
    return min(math.ceil(PRODUCT_WORK / (2 * product_flops(*product))), MOST_ROUNDS)


def product_side(product: Product) -> Side:
    """A side that multiplies by a kernel and by another one back, `rounds` times, in one call.

    Each product takes the result of the one before, so that none can be left out.
    """
    rows, inner, columns = product
    draw = np.random.default_rng(0)

    def normal(n_in: int, n_out: int, scale: float) -> Array:
        return jnp.asarray(scale * draw.normal(size=(n_in, n_out)), jnp.float32)

    # Entries so scaled that the results neither vanish nor grow.
    there, back = normal(inner, columns, columns**-0.5), normal(columns, inner, inner**-0.5)
    start = normal(rows, inner, 1.0)

    @jax.jit
    def multiply(x: Array, there: Array, back: Array) -> Array:
        return jax.lax.fori_loop(0, rounds(product), lambda _, x: (x @ there) @ back, x)

    jax.block_until_ready(multiply(start, there, back))
    return timed(lambda: jax.block_until_ready(multiply(start, there, back)))
