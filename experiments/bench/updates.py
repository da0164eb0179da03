"""Updates in one compiled scan: by algorithm, by number of members, by width and sparsity."""

from collections.abc import Mapping

import jax

from dsrl_jax.agents.layers import check_sparsity
from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.presets import ALGORITHMS
from experiments.bench.measure import (
    MeasurementError,
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
)
from experiments.bench.workload import (
    NEVER,
    SPACES,
    Memory,
    Scan,
    agent_config,
    compile_scan,
    dense_of,
    scan_side,
)
from experiments.cli.values import UsageError

DENSE, SPARSE = "td3", "ds_td3"  # of `members`

# `scale` makes so many updates at this width, and at other widths as many as take about as long.
WIDTH, FEWEST_UPDATES = 256, 4

Size = tuple[str, int]  # algorithm and number of members
Place = tuple[int, float | None]  # width and sparsity; None is dense


def update(
    repetitions: int, updates: int, algos: tuple[str, ...], hidden_sizes: tuple[int, ...]
) -> Report:
    """Measures the updates per second of every algorithm and of its dense counterpart."""
    measured = {*algos, *(dense_of(name) for name in algos)}
    sides = {
        name: scan_side(compile_scan(agent_config(name, hidden_sizes), updates))
        for name in ALGORITHMS
        if name in measured
    }
    found = {name: rates(s, updates) for name, s in in_turn(sides, repetitions).items()}
    of_dense = {name: ratio(found[name], found[dense_of(name)]) for name in found}
    samples = {f"{name}_per_second": values for name, values in found.items()}
    results = {
        f"{name}_over_{dense_of(name)}": share
        for name, share in of_dense.items()
        if name != dense_of(name)
    }
    rows = [[name, *spread(values), f"{of_dense[name]:.2f}"] for name, values in found.items()]
    head = ["method", "updates/s", "lowest", "highest", "of dense"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def members(
    repetitions: int,
    updates: int,
    adaptation_period: int,
    members: tuple[int, ...],
    hidden_sizes: tuple[int, ...],
) -> Report:
    """Measures dense TD3 and DS-TD3 in turn at every number of members that fits into memory.

    Smaller numbers stay in memory, because all are measured in turn. Then, with the second number
    of members, measures DS-TD3 with one adaptation in `adaptation_period` updates and with none.

    Raises:
      MeasurementError: if not even the first number fits.
    """
    configs = {algo: agent_config(algo, hidden_sizes) for algo in (DENSE, SPARSE)}
    periods = {
        period: agent_config(SPARSE, hidden_sizes, adaptation_period=period)
        for period in (adaptation_period, NEVER)
    }
    scans, sides = _fitting_scans(configs, updates, members)
    found = {
        size: rates(seconds, updates * size[1])
        for size, seconds in in_turn(sides, repetitions).items()
    }
    fitting = [number for algo, number in found if algo == SPARSE]
    number = fitting[min(1, len(fitting) - 1)]
    both = {
        period: scan_side(compile_scan(config, adaptation_period, number))
        for period, config in periods.items()
    }
    by_period = {
        period: [taken / adaptation_period for taken in seconds]
        for period, seconds in in_turn(both, repetitions).items()
    }
    first = members_report(found, {size: scan.memory for size, scan in scans.items()})
    second = adaptation_report(by_period, number)
    return Report(
        first.tables + second.tables,
        {**first.results, **second.results},
        first.samples | second.samples,
    )


def _fitting_scans(
    configs: Mapping[str, AgentConfig], updates: int, members: tuple[int, ...]
) -> tuple[dict[Size, Scan], dict[Size, Side]]:
    """Compiles and runs both algorithms with more and more members, until memory runs out."""
    scans: dict[Size, Scan] = {}
    sides: dict[Size, Side] = {}
    for number in members:
        try:
            new = {
                (algo, number): compile_scan(config, updates, number)
                for algo, config in configs.items()
            }
            warm = {size: scan_side(scan) for size, scan in new.items()}
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if not sides:
                raise MeasurementError(
                    f"--members={number} does not fit into the memory of the device: "
                    "name fewer members, or smaller --hidden_sizes"
                ) from error
            break
        scans |= new
        sides |= warm
    return scans, sides


def members_report(found: Mapping[Size, list[float]], memories: Mapping[Size, Memory]) -> Report:
    """Reports seed-updates per second and memory per member."""
    first = next(iter(found))[1]
    results: dict[str, float] = {}
    rows = []
    for (algo, number), values in found.items():
        each = {name: count / number for name, count in memories[algo, number]._asdict().items()}
        results |= {f"{algo}_members_{number}_{name}_bytes": count for name, count in each.items()}
        cells = [algo, str(number), *spread(values), f"{ratio(values, found[algo, first]):.2f}", ""]
        if algo == SPARSE:
            of_dense = ratio(values, found[DENSE, number])
            results[f"{SPARSE}_over_{DENSE}_members_{number}"] = of_dense
            cells[-1] = f"{of_dense:.2f}"
        rows.append([*cells, *(show(count / 1e6) for count in each.values())])
    head = ["method", "members", "seed-updates/s", "lowest", "highest"]
    head += [f"of {first} member{'s' * (first > 1)}", "of dense", "state MB", "scratch MB, each"]
    samples = {f"{algo}_members_{number}_per_second": v for (algo, number), v in found.items()}
    return Report((table(head, rows),), medians(samples) | results, samples)


def adaptation_report(seconds: Mapping[int, list[float]], members: int) -> Report:
    """Reports the seconds of an update by adaptation period; the second period is `NEVER`."""
    period = next(iter(seconds))
    of_never = ratio(seconds[period], seconds[NEVER])
    cells = {each: spread([1e3 * update for update in seconds[each]]) for each in (period, NEVER)}
    rows = [[f"{period:,}", *cells[period], f"{of_never:.3f}"], ["never", *cells[NEVER], ""]]
    head = [f"{SPARSE}, {members} members, period", "ms an update", "lowest", "highest"]
    samples = {f"period_{period}_seconds": seconds[period], "never_seconds": seconds[NEVER]}
    results = medians(samples) | {f"period_{period}_over_never": of_never}
    return Report((table([*head, "of never"], rows),), results, samples)


def scale(
    repetitions: int,
    updates: int,
    algo: str,
    widths: tuple[int, ...],
    sparsities: tuple[float, ...],
) -> Report:
    """Measures time and memory of an algorithm's update by width and sparsity, against dense.

    Raises:
      UsageError: if networks of a width cannot have a sparsity.
    """
    numbers = {
        width: max(round(updates * (WIDTH / width) ** 2), FEWEST_UPDATES) for width in widths
    }
    configs = {
        (width, sparsity): _scale_config(algo, width, sparsity)
        for width in widths
        for sparsity in (None, *sparsities)
    }
    scans = {place: compile_scan(config, numbers[place[0]]) for place, config in configs.items()}
    seconds = in_turn({place: scan_side(scan) for place, scan in scans.items()}, repetitions)
    results: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    rows = []
    for (width, sparsity), scan in scans.items():
        found = rates(seconds[width, sparsity], numbers[width])
        of_dense = ratio(found, rates(seconds[width, None], numbers[width]))
        memory, dense_memory = scan.memory, scans[width, None].memory
        name = f"{dense_of(algo) if sparsity is None else algo}_{width}_{sparsity or 0}"
        samples[f"{name}_updates_per_second"] = found
        results[f"{name}_over_dense"] = of_dense
        results[f"{name}_state_bytes"] = memory.state
        results[f"{name}_scratch_bytes"] = memory.scratch
        cells = [str(width), "dense" if sparsity is None else f"{sparsity:.0%}"]
        cells += [show(1e3 / median(found)), f"{of_dense:.2f}", show(memory.state / 1e6)]
        cells += [f"{memory.state / dense_memory.state:.2f}", show(memory.scratch / 1e6)]
        rows.append(cells)
    head = [f"{algo}, width", "sparsity", "ms an update", "rate of dense"]
    head += ["state MB", "of dense", "scratch MB"]
    return Report((table(head, rows),), medians(samples) | results, samples)


def _scale_config(algo: str, width: int, sparsity: float | None) -> AgentConfig:
    if sparsity is None:
        return agent_config(dense_of(algo), (width, width))
    config = agent_config(algo, (width, width), sparsity=sparsity)
    try:
        check_sparsity(SPACES, config)
    except ValueError as error:
        raise UsageError(f"--widths={width}: {error}") from None
    return config
