"""A step of AdamW alone and inside `sparsify`, when no adaptation falls on it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsrl_jax import sparse
from experiments.bench.measure import Report, Side, in_turn, medians, ratio, spread, table, timed

BARE = "AdamW"


def run(repetitions: int, calls: int, size: int, layers: int) -> Report:
    """Measures steps of `layers` square kernels, in one compiled scan and by a call each."""
    wrap = partial(sparse.sparsify, optax.adamw(1e-3), 0.9, key=jax.random.key(0))
    optimizers = {
        BARE: optax.adamw(1e-3),
        "in sparsify": wrap(period=1 << 30),
        "in sparsify, static": wrap(rules=sparse.STATIC),
    }
    draw = np.random.default_rng(0)
    params = {
        f"layer_{i}": jnp.asarray(draw.normal(size=(size, size)), jnp.float32)
        for i in range(layers)
    }
    makers = {"scan": scan_side, "calls": calls_side}
    sides = {
        (kind, name): make(optimizer, params, calls)
        for kind, make in makers.items()
        for name, optimizer in optimizers.items()
    }
    seconds = in_turn(sides, repetitions)
    found = {side: [1e3 * taken / calls for taken in seconds[side]] for side in sides}
    samples: dict[str, list[float]] = {}
    results, rows = {}, []
    for (kind, name), values in found.items():
        key = f"{kind}_{name.replace(', ', '_').replace(' ', '_').lower()}"
        samples[f"{key}_milliseconds"] = values
        share = ratio(values, found[kind, BARE])
        if name != BARE:
            results[f"{key}_over_adamw"] = share
        rows.append([f"{kind}: {name}", *spread(values), f"{share:.3f}"])
    head = [f"{layers} kernels of {size}x{size}", "milliseconds", "lowest", "highest", "of AdamW"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def scan_side(optimizer: Any, params: Any, steps: int) -> Side:
    """A side that makes `steps` steps in one compiled scan."""

    @jax.jit
    def scan(params: Any, state: Any, gradients: Any) -> Any:
        def body(carry: Any, _: None) -> tuple[Any, None]:
            params, state = carry
            return _step(optimizer, params, state, gradients), None

        return jax.lax.scan(body, (params, state), None, length=steps)[0]

    state = optimizer.init(params)
    jax.block_until_ready(scan(params, state, params))
    return timed(lambda: jax.block_until_ready(scan(params, state, params)))


def calls_side(optimizer: Any, params: Any, steps: int) -> Side:
    """A side that makes `steps` steps by a call each, which gives params and state away."""
    step = jax.jit(partial(_step, optimizer), donate_argnums=(0, 1))
    own = jax.tree.map(jnp.copy, params)
    now = [own, optimizer.init(own)]

    def run() -> None:
        for _ in range(steps):
            now[:] = step(*now, params)
        jax.block_until_ready(now)

    run()
    return timed(run)


def _step(optimizer: Any, params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state
