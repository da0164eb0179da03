"""Single functions of the library: exact selection, `sparsify` around AdamW, an exported actor."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from dsrl_jax import policy, sparse
from dsrl_jax.config.presets import resolve
from dsrl_jax.export import Actor, write_npz
from dsrl_jax.sparse.selection import select_strongest
from experiments.bench.measure import Report, Side, in_turn, medians, ratio, spread, table, timed
from experiments.bench.workload import ENV, SPACES, make_agent

TAU = 0.005  # step size of a target's average

ADAMW = "AdamW"

# The share of connections from which a layer is unpacked to a dense kernel.
DENSE_FROM = {"NumPy dense": 0.0, "NumPy list": 2.0, "NumPy": policy.DENSE_FROM}

Kernel = Float[Array, "n n"]


def selection(repetitions: int, calls: int, size: int) -> Report:
    """Measures ways to keep half of a kernel's entries, the largest.

    Our search with no guess (Algorithm 3), with the threshold found one average earlier, and for
    signed scores (Algorithm 2), against sorting and `top_k`.
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
    _, guess = select_strongest((1 - TAU) * kernel + TAU * other, count)
    everywhere = jnp.ones((size, size), bool)
    methods: dict[str, Callable[[Kernel], Array]] = {
        "search": lambda kernel: sparse.keep_largest(kernel, count),
        "search_near": lambda kernel: select_strongest(kernel, count, guess)[0],
        "search_scores": lambda kernel: sparse.select_largest(kernel, everywhere, count),
        "sort": by_sort,
        "top_k": by_top_k,
    }
    sides = {name: repeated_side(method, kernel, calls) for name, method in methods.items()}
    seconds = in_turn(sides, repetitions)
    found = {name: [1e6 * taken / calls for taken in seconds[name]] for name in sides}
    shares = {name: ratio(values, found["search"]) for name, values in found.items()}
    samples = {f"{name}_microseconds": values for name, values in found.items()}
    results = {f"{name}_over_search": shares[name] for name in found if name != "search"}
    rows = [[name, *spread(values), f"{shares[name]:.2f}"] for name, values in found.items()]
    head = [f"{size}x{size}, {count:,} kept", "microseconds", "lowest", "highest", "of search"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def repeated_side(method: Callable[[Kernel], Array], kernel: Kernel, calls: int) -> Side:
    """Returns a side that calls a method `calls` times in one compiled loop.

    The kernel of each call depends on the result before, so that no call can be hoisted out of the
    loop. That adds at most one pass over the kernel.
    """

    @jax.jit
    def repeat(kernel: Kernel) -> Array:
        def call(_: int, last: Array) -> Array:
            return method(kernel + 0.0 * last.astype(kernel.dtype))

        return jax.lax.fori_loop(1, calls, call, method(kernel))

    jax.block_until_ready(repeat(kernel))
    return timed(lambda: jax.block_until_ready(repeat(kernel)))


def sparsify(repetitions: int, calls: int, size: int, layers: int) -> Report:
    """Measures steps of AdamW and of `sparsify` around it, between two adaptations.

    The steps update `layers` square kernels, in one compiled scan and with a call each.
    """
    wrap = partial(sparse.sparsify, optax.adamw(1e-3), 0.9, key=jax.random.key(0))
    optimizers: dict[str, Any] = {
        ADAMW: optax.adamw(1e-3),
        "in sparsify": wrap(period=1 << 30),
        "in sparsify, static": wrap(rules=sparse.STATIC),
    }
    draw = np.random.default_rng(0)
    params = {
        f"layer_{i}": jnp.asarray(draw.normal(size=(size, size)), jnp.float32)
        for i in range(layers)
    }
    sides = {
        (kind, name): make(optimizer, params, calls)
        for kind, make in {"scan": scanned_steps, "calls": called_steps}.items()
        for name, optimizer in optimizers.items()
    }
    seconds = in_turn(sides, repetitions)
    samples: dict[str, list[float]] = {}
    results, rows = {}, []
    for (kind, name), taken in seconds.items():
        key = f"{kind}_{name.replace(', ', '_').replace(' ', '_').lower()}"
        share = ratio(taken, seconds[kind, ADAMW])
        samples[f"{key}_milliseconds"] = values = [1e3 * each / calls for each in taken]
        if name != ADAMW:
            results[f"{key}_over_adamw"] = share
        rows.append([f"{kind}: {name}", *spread(values), f"{share:.3f}"])
    head = [f"{layers} kernels of {size}x{size}", "milliseconds", "lowest", "highest", "of AdamW"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def scanned_steps(optimizer: Any, params: Any, steps: int) -> Side:
    """Returns a side that makes `steps` steps in one compiled scan."""

    @jax.jit
    def scan(params: Any, state: Any, gradients: Any) -> Any:
        def body(carry: Any, _: None) -> tuple[Any, None]:
            params, state = carry
            return _step(optimizer, params, state, gradients), None

        return jax.lax.scan(body, (params, state), None, length=steps)[0]

    state = optimizer.init(params)
    jax.block_until_ready(scan(params, state, params))
    return timed(lambda: jax.block_until_ready(scan(params, state, params)))


def called_steps(optimizer: Any, params: Any, steps: int) -> Side:
    """Returns a side that makes `steps` steps with a call each, which consumes params and state."""
    step = jax.jit(partial(_step, optimizer), donate_argnums=(0, 1))
    carry = jax.tree.map(jnp.copy, (params, optimizer.init(params)))

    def run() -> None:
        nonlocal carry
        for _ in range(steps):
            carry = step(*carry, params)
        jax.block_until_ready(carry)

    run()
    return timed(run)


def _step(optimizer: Any, params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state


def export(repetitions: int, calls: int, sparsities: tuple[float, ...]) -> Report:
    """Measures one action of DS-TD3's untrained actor, exported and in JAX, at each sparsity."""
    sides, sizes = {}, {}
    for sparsity in sparsities:
        text = f"{sparsity:g}"
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "actor.npz"
            act = _export_actor(sparsity, path)
            sizes[text] = path.stat().st_size
            exported = {name: policy.load(str(path), share) for name, share in DENSE_FROM.items()}
        for name, actor in exported.items():
            sides[text, name] = _acting_side(partial(policy.act, actor), calls)
        sides[text, "JAX"] = _acting_side(act, calls)
    seconds = in_turn(sides, repetitions)
    samples: dict[str, list[float]] = {}
    rows = []
    for (text, name), taken in seconds.items():
        values = [1e6 * each / calls for each in taken]
        samples[f"{text}_{name.lower().replace(' ', '_')}_microseconds"] = values
        share = f"{ratio(taken, seconds[text, 'JAX']):.2f}"
        rows.append([f"{text} {name}", f"{sizes[text]:,}", *spread(values), share])
    head = ["sparsity, by", "bytes", "microseconds", "lowest", "highest", "of JAX"]
    results: Mapping[str, float] = {f"{text}_bytes": size for text, size in sizes.items()}
    return Report((table(head, rows),), {**medians(samples), **results}, samples)


def _export_actor(sparsity: float, path: Path) -> Callable[[Any], Any]:
    """Writes an actor, and returns the agent's own action function, compiled."""
    settings = {"sparse_layers": ("input", "hidden", "output"), "actor_sparsity": sparsity}
    experiment = resolve(ENV, "ds_td3", settings=settings) if sparsity else resolve(ENV, "td3")
    config: Any = experiment.agent
    agent = make_agent(config)
    state = jax.jit(agent.init)(jax.random.key(0), config)
    layers = [
        (np.asarray(layer["kernel"]), np.asarray(layer["bias"]))
        for layer in state.actor.params.values()
    ]
    bounds = [np.asarray(bound, np.float32) for bound in (SPACES.action_low, SPACES.action_high)]
    write_npz(path, Actor(layers, *bounds))
    jitted = jax.jit(lambda observation: agent.act(config, state, observation))
    return lambda observation: np.asarray(jitted(observation))


def _acting_side(act: Callable[[Any], Any], calls: int) -> Side:
    observation = np.zeros(SPACES.observation_size, np.float32)

    def run() -> None:
        for _ in range(calls):
            act(observation)

    run()
    return timed(run)
