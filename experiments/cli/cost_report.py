"""Reports the costs of methods as plain numbers, text, CSV or JSON."""

import csv
import io
import json
from typing import Any

from dsrl_jax.agents.costs import expected_cost
from dsrl_jax.agents.layers import check_sparsity, network_layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import ALGORITHMS, Experiment, resolve
from dsrl_jax.sparse import expected_connections, inference_flops, sparse_bytes, stored_bytes

# Sizes of observation and action by environment and back-end; v3 is the paper's.
ENVIRONMENTS = {
    ("HalfCheetah-v5", "gymnasium"): (17, 6),
    ("Walker2d-v5", "gymnasium"): (17, 6),
    ("Hopper-v5", "gymnasium"): (11, 3),
    ("Ant-v3", "gymnasium"): (111, 8),
    ("Ant-v5", "gymnasium"): (105, 8),
    ("ant", "brax"): (27, 8),
    ("Humanoid-v3", "gymnasium"): (376, 17),
    ("Humanoid-v5", "gymnasium"): (348, 17),
    ("humanoid", "brax"): (244, 17),
}


def unit_spaces(observation_size: int, action_size: int) -> Spaces:
    """Returns spaces of a size with unit bounds; costs do not depend on the bounds."""
    return Spaces(observation_size, (-1.0,) * action_size, (1.0,) * action_size)


def report(experiment: Experiment, spaces: Spaces) -> dict[str, Any]:
    """Returns all costs of one method as plain numbers.

    Raises:
      ValueError: if a required sparsity cannot be reached.
    """
    agent, loop = experiment.agent, experiment.loop
    check_sparsity(spaces, agent)
    networks = network_layers(spaces, agent)
    every = [layer for layers in networks.values() for layer in layers]
    cost = expected_cost(spaces, agent, experiment.updates_at(loop.steps))
    return {
        "env": experiment.env,
        "algo": experiment.algo,
        "preset": experiment.preset,
        "env_preset": experiment.env_preset,
        "backend": experiment.backend,
        "observation_size": spaces.observation_size,
        "action_size": spaces.action_size,
        "layers": [
            {
                "network": network,
                "layer": layer.name,
                "n_in": layer.n_in,
                "n_out": layer.n_out,
                "weights": layer.weights,
                "connections": layer.connections,
                "sparsity": 1 - layer.density,
            }
            for network, layers in networks.items()
            for layer in layers
        ],
        "weights": cost.dense_weights,
        "connections": cost.connections,
        "sparsity": cost.sparsity,
        "updates": experiment.updates_at(loop.steps),
        "training_flops": cost.training_flops,
        "steps": loop.steps,
        "training_flops_paper": expected_cost(spaces, agent, loop.steps).training_flops,
        "training_flops_of_dense": cost.ratio_to_dense,
        "inference_flops": inference_flops(expected_connections(networks["actor"])),
        "stored_bytes": stored_bytes(every),
        "sparse_bytes": sparse_bytes(every),
    }


def compare() -> list[dict[str, Any]]:
    """Returns the report of every method on every environment, without layers."""
    rows = []
    for algo in ALGORITHMS:
        for (env, backend), sizes in ENVIRONMENTS.items():
            row = report(resolve(env, algo, backend=backend), unit_spaces(*sizes))
            rows.append({name: value for name, value in row.items() if name != "layers"})
    return rows


def show_report(found: dict[str, Any], style: str) -> str:
    """Formats one method's costs: text, a JSON object, or CSV with a line for each layer."""
    if style == "json":
        return json.dumps(found, indent=1)
    if style == "text":
        return to_text(found)
    total = {name: value for name, value in found.items() if name != "layers"}
    return to_csv([*found["layers"], {"network": "all", "layer": "all"} | total])


def show_table(rows: list[dict[str, Any]], style: str) -> str:
    """Formats many methods' costs, a line each: text, a JSON list, or CSV."""
    if style == "json":
        return json.dumps(rows, indent=1)
    if style == "csv":
        return to_csv(rows)
    lines = [
        "training FLOPs by the paper's count, 1,000,000 updates; "
        "experiments.costs --all --format=csv has more columns",
        f"{'algo':<11} {'env':<15} {'sizes':>7} {'weights':>8} {'connections':>12} "
        f"{'sparsity':>9} {'training FLOPs':>15} {'of dense':>9}",
    ]
    for row in rows:
        sizes = f"{row['observation_size']}/{row['action_size']}"
        where = row["env"] if row["backend"] == "gymnasium" else f"{row['env']} ({row['backend']})"
        lines.append(
            f"{row['algo']:<11} {where:<15} {sizes:>7} {row['weights']:>8} "
            f"{row['connections']:>12.0f} {row['sparsity']:>9.2%} "
            f"{row['training_flops_paper']:>15.4e} {row['training_flops_of_dense']:>9.4f}"
        )
    return "\n".join(lines)


def to_text(found: dict[str, Any]) -> str:
    """Formats a report for a terminal."""
    lines = [
        f"{found['algo']} on {found['env']}, {found['observation_size']} observations and "
        f"{found['action_size']} actions, preset {found['preset']}",
        "",
        f"{'layer':<20} {'shape':>11} {'weights':>9} {'connections':>12} {'sparsity':>9}",
    ]
    for layer in found["layers"]:
        shape = f"{layer['n_in']}x{layer['n_out']}"
        lines.append(
            f"{layer['network'] + ' ' + layer['layer']:<20} {shape:>11} {layer['weights']:>9,} "
            f"{layer['connections']:>12,.0f} {layer['sparsity']:>9.2%}"
        )
    return "\n".join(
        [
            *lines,
            f"{'all':<20} {'':>11} {found['weights']:>9,} {found['connections']:>12,.0f} "
            f"{found['sparsity']:>9.2%}",
            "",
            f"training FLOPs   {found['training_flops']:.4e} in {found['updates']:,} updates",
            f"                 {found['training_flops_paper']:.4e} by the paper's count, "
            f"{found['steps']:,} updates",
            f"                 {found['training_flops_of_dense']:.4f} of dense",
            f"inference FLOPs  {found['inference_flops']:,.0f} an action",
            f"parameters       {found['stored_bytes']:,} bytes as stored, dense with masks",
            f"                 {found['sparse_bytes']:,.0f} bytes in compressed rows",
        ]
    )


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Formats rows as CSV with the columns of all; missing cells are empty."""
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip()
