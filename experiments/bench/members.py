"""What several members in one compiled program cost: rates, memory, and adaptations."""

import jax

from dsrl_jax.config.agents import AgentConfig
from experiments.bench.measure import (
    MeasurementError,
    Report,
    Side,
    in_turn,
    medians,
    rates,
    ratio,
    show,
    spread,
    table,
)
from experiments.bench.workload import Memory, Scan, agent_config, compile_scan, scan_side

DENSE, SPARSE = "td3", "ds_td3"
NEVER = 10**9  # updates between two adaptations: those measured have none

Place = tuple[str, int]  # method and members


def run(
    repetitions: int,
    updates: int,
    adaptation_period: int,
    members: tuple[int, ...],
    hidden_sizes: tuple[int, ...],
) -> Report:
    """Measures dense and DS-TD3 in turn, at each number of members that fits into the memory.

    Beside the smaller numbers, that is: all of them stay there, to be measured in turn. Then
    DS-TD3 with one adaptation in a period's updates and with none, of the second number.

    Raises:
      MeasurementError: if not even the first number fits.
    """
    configs = {algo: agent_config(algo, hidden_sizes) for algo in (DENSE, SPARSE)}
    periods = {
        period: agent_config(SPARSE, hidden_sizes, period) for period in (adaptation_period, NEVER)
    }
    measured, memories = _measure_sizes(configs, repetitions, updates, members)
    fitting = [size for algo, size in measured if algo == SPARSE]
    together = fitting[min(1, len(fitting) - 1)]
    sides = {
        period: scan_side(compile_scan(config, adaptation_period, together))
        for period, config in periods.items()
    }
    each = {
        period: [taken / adaptation_period for taken in found]
        for period, found in in_turn(sides, repetitions).items()
    }
    return _join(tell(measured, memories), tell_periods(each, together))


def _measure_sizes(
    configs: dict[str, AgentConfig], repetitions: int, updates: int, members: tuple[int, ...]
) -> tuple[dict[Place, list[float]], dict[Place, Memory]]:
    """Seed-updates a second, and memory, at each number of members that fits."""
    scans: dict[Place, Scan] = {}
    sides: dict[Place, Side] = {}
    for size in members:
        try:
            found = {
                (algo, size): compile_scan(config, updates, size)
                for algo, config in configs.items()
            }
            warm = {place: scan_side(scan) for place, scan in found.items()}
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if not sides:
                raise MeasurementError(
                    f"--members={size} does not fit into the device's memory, beside its dense "
                    "twins: name fewer, or smaller --hidden_sizes"
                ) from error
            break
        scans |= found
        sides |= warm
    seconds = in_turn(sides, repetitions)
    measured = {place: rates(taken, updates * place[1]) for place, taken in seconds.items()}
    return measured, {place: scan.memory for place, scan in scans.items()}


def tell(found: dict[Place, list[float]], memories: dict[Place, Memory]) -> Report:
    """The report of seed-updates a second, and of memory."""
    first = next(iter(found))[1]
    results: dict[str, float] = {}
    rows = []
    for (algo, size), values in found.items():
        memory = memories[algo, size]
        each = {name: count / size for name, count in memory._asdict().items()}
        results |= {f"{algo}_members_{size}_{name}_bytes": count for name, count in each.items()}
        cells = [algo, str(size), *spread(values), f"{ratio(values, found[algo, first]):.2f}", ""]
        if algo == SPARSE:
            of_dense = ratio(values, found[DENSE, size])
            results[f"{SPARSE}_over_{DENSE}_members_{size}"] = of_dense
            cells[-1] = f"{of_dense:.2f}"
        rows.append([*cells, *(show(count / 1e6) for count in each.values())])
    head = ["method", "members", "seed-updates/s", "lowest", "highest"]
    head += [f"of {first} member{'s' * (first > 1)}", "of dense", "state MB", "scratch MB, each"]
    samples = {f"{algo}_members_{size}_per_second": v for (algo, size), v in found.items()}
    return Report((table(head, rows),), medians(samples) | results, samples)


def tell_periods(seconds: dict[int, list[float]], members: int) -> Report:
    """The report of what an update of all members takes, by the adaptation's period.

    Args:
      seconds: by the period, those of an update, repeated; `NEVER` is the second one.
    """
    period = next(iter(seconds))
    of_never = ratio(seconds[period], seconds[NEVER])
    rows = [
        ["never" if each == NEVER else f"{each:,}", *spread([1e3 * update for update in taken])]
        for each, taken in seconds.items()
    ]
    rows[0].append(f"{of_never:.3f}")
    head = [f"{SPARSE}, {members} members, period", "ms an update", "lowest", "highest"]
    head.append("of never")
    results = {f"period_{period}_over_never": of_never}
    samples = {f"period_{period}_seconds": seconds[period], "never_seconds": seconds[NEVER]}
    tables = (table(head, [[*row, ""][:5] for row in rows]),)
    return Report(tables, medians(samples) | results, samples)


def _join(*reports: Report) -> Report:
    results = {name: value for report in reports for name, value in report.results.items()}
    samples = {name: values for report in reports for name, values in report.samples.items()}
    return Report(tuple(t for report in reports for t in report.tables), results, samples)
