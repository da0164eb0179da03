"""Speed, as ratios measured in turn in one run: python -m experiments.bench update [--json]."""

import json
import statistics
import sys
import time
from collections.abc import Callable

from absl import flags

from dsrl_jax.presets import ALGORITHMS, resolve
from experiments.flags import UsageError, parse
from experiments.machine import keep_freed_memory


def main(arguments: list[str]) -> int:
    """Runs a benchmark by name; returns the exit status."""
    values = flags.FlagValues()
    flags.DEFINE_bool("json", False, "one JSON object on the last line", flag_values=values)
    flags.DEFINE_integer("updates", 500, "in one repetition", 1, flag_values=values)
    flags.DEFINE_integer("repetitions", 7, "of each method, in turn", 1, flag_values=values)
    try:
        names = parse(values, arguments, stray=True)
        if names != ["update"]:
            raise UsageError(f"name one benchmark of: update; got {' '.join(names) or 'none'}")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keep_freed_memory()
    rates = measure_updates(values.updates, values.repetitions)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    print(f"{'method':<12} {'updates/s':>10} {'lowest':>8} {'highest':>8} {'of dense':>9}")
    ratios = {}
    for name, found in rates.items():
        dense = name.split("_")[-1]
        ratios[f"{name}_over_{dense}"] = ratio = medians[name] / medians[dense]
        print(
            f"{name:<12} {medians[name]:>10.0f} {min(found):>8.0f} {max(found):>8.0f} {ratio:>9.2f}"
        )
    if values.json:
        print(json.dumps(ratios | {f"{name}_per_second": rate for name, rate in medians.items()}))
    return 0


def measure_updates(updates: int, repetitions: int) -> dict[str, list[float]]:
    """Updates a second in one compiled scan; HalfCheetah sizes, 256-256, the paper's settings."""
    runs = {name: compile_updates(name, updates) for name in ALGORITHMS}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            rates[name].append(updates / (time.perf_counter() - start))
    return rates


def compile_updates(algo: str, updates: int) -> Callable[[], None]:
    """A function that runs `updates` updates of one member and waits for them; compiled."""
    import jax
    import jax.numpy as jnp

    from dsrl_jax.agents.types import Spaces, State, Transition
    from dsrl_jax.training.train import AGENTS

    spaces = Spaces(17, (-1.0,) * 6, (1.0,) * 6)
    config = resolve("HalfCheetah-v5", algo).agent
    agent = AGENTS[type(config)](spaces)
    keys = jax.random.split(jax.random.key(0), 5)
    size = config.batch_size
    batch = Transition(
        observation=jax.random.normal(keys[0], (size, 17)),
        action=jax.random.uniform(keys[1], (size, 6), minval=-1.0),
        reward=jax.random.normal(keys[2], (size,)),
        terminated=jnp.zeros(size),
        next_observation=jax.random.normal(keys[3], (size, 17)),
    )
    state = agent.init(keys[4], config)

    @jax.jit
    def scan(state: State) -> State:
        def body(state: State, step: jax.Array) -> tuple[State, None]:
            return agent.update(keys[4], config, state, batch, step)[0], None

        # An adaptation comes first: from then on targets have connections to lose (Algorithm 3).
        steps = config.sparse.adaptation_period + jnp.arange(updates)
        return jax.lax.scan(body, state, steps)[0]

    def run() -> None:
        jax.block_until_ready(scan(state))

    run()
    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
