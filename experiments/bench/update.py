"""Updates a second of every algorithm, and of the best matrix product that dense ones reach."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dsrl_jax.agents.layers import layer_shapes
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.presets import ALGORITHMS
from experiments.bench.flops import product_flops, update_flops
from experiments.bench.measure import (
    Report,
    Side,
    in_turn,
    median,
    medians,
    rates,
    ratio,
    show,
    spread,
    table,
    timed,
)
from experiments.bench.workload import SPACES, agent_config, compile_scan, dense_of, scan_side

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
    wanted = {*algos, *(dense_of(name) for name in algos)}
    configs = {name: agent_config(name, hidden_sizes) for name in ALGORITHMS if name in wanted}
    own = [own_product(config) for name, config in configs.items() if name in DENSE]
    all_products = dict.fromkeys([*own, *((size,) * 3 for size in products)])
    sides: dict[str | Product, Side] = {
        name: scan_side(compile_scan(config, updates)) for name, config in configs.items()
    }
    sides |= {product: product_side(product) for product in all_products}
    seconds = in_turn(sides, repetitions)
    gflops = {
        product: rates(seconds[product], 2 * rounds(product) * product_flops(*product) / 1e9)
        for product in all_products
    }
    return tell(configs, {name: rates(seconds[name], updates) for name in configs}, gflops)


def tell(
    configs: Mapping[str, AgentConfig],
    updates_per_second: Mapping[str, list[float]],
    gflops: Mapping[Product, list[float]],
) -> Report:
    """The report of what was measured: of dense, and of the best product and that of its size."""
    best = max(median(found) for found in gflops.values())
    results: dict[str, float] = {"best_product_gflops": best}
    for name, found in updates_per_second.items():
        dense = dense_of(name)
        if name not in DENSE:
            results[f"{name}_over_{dense}"] = ratio(found, updates_per_second[dense])
        if name in DENSE:
            results[f"{name}_flops_per_update"] = flops = update_flops(SPACES, configs[name])
            results[f"{name}_gflops"] = reached = median(found) * flops / 1e9
            results[f"{name}_over_best_product"] = reached / best
            own = median(gflops[own_product(configs[name])])
            results[f"{name}_over_own_product"] = reached / own
    samples = {f"{name}_per_second": found for name, found in updates_per_second.items()}
    samples |= {f"product_{'x'.join(map(str, size))}_gflops": v for size, v in gflops.items()}
    tables = _tables(updates_per_second, gflops, results)
    return Report(tables, medians(samples) | results, samples)


def own_product(config: AgentConfig) -> Product:
    """The product that weighs most in an update: the batch times the largest layer."""
    layers = [layer for net in layer_shapes(SPACES, config).values() for layer in net.values()]
    return config.batch_size, *max(layers, key=math.prod)


def _tables(
    updates_per_second: Mapping[str, list[float]],
    gflops: Mapping[Product, list[float]],
    results: Mapping[str, float],
) -> tuple[str, str]:
    rows = []
    for name, found in updates_per_second.items():
        shares = ("gflops", "over_own_product", "over_best_product")
        cells = [show(results[f"{name}_{share}"]) if name in DENSE else "" for share in shares]
        of_dense = ratio(found, updates_per_second[dense_of(name)])
        rows.append([name, *spread(found), f"{of_dense:.2f}", *cells])
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
