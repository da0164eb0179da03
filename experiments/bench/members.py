"""Seed-updates a second of one compiled program that trains 1, 2, 5, … members at once."""

from experiments.bench.measure import Report, in_turn, median, rates, ratio, spread, table
from experiments.bench.workload import scan_side

DENSE, SPARSE = "td3", "ds_td3"


def run(
    repetitions: int, updates: int, members: tuple[int, ...], hidden_sizes: tuple[int, ...]
) -> Report:
    """Measures dense and DS-TD3 in turn, at each number of members."""
    sides = {
        (algo, size): scan_side(algo, updates, hidden_sizes, size)
        for size in members
        for algo in (DENSE, SPARSE)
    }
    seconds = in_turn(sides, repetitions)
    found = {(algo, size): rates(seconds[algo, size], updates * size) for algo, size in sides}
    results = {
        f"{algo}_members_{size}_per_second": median(values)
        for (algo, size), values in found.items()
    }
    rows = []
    for size in members:
        of_dense = ratio(found[SPARSE, size], found[DENSE, size])
        results[f"{SPARSE}_over_{DENSE}_members_{size}"] = of_dense
        for algo in (DENSE, SPARSE):
            of_first = ratio(found[algo, size], found[algo, members[0]])
            last = f"{of_dense:.2f}" if algo == SPARSE else ""
            cells = [algo, str(size), *spread(found[algo, size]), f"{of_first:.2f}", last]
            rows.append(cells)
    head = ["method", "members", "seed-updates/s", "lowest", "highest"]
    head += [f"of {members[0]} member{'s' * (members[0] > 1)}", "of dense"]
    samples = {f"{algo}_members_{size}_per_second": v for (algo, size), v in found.items()}
    return Report((table(head, rows),), results, samples)
