"""Describes a run before it starts, and its results, as text for a terminal."""

from pathlib import Path

from dsrl_jax.agents.costs import Cost, actual_cost, expected_cost
from dsrl_jax.agents.layers import is_sparse_layer, network_layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import NOT_A_SETTING, OFFICIAL_LAST_ADAPTATION, Experiment
from dsrl_jax.config.to_json import describe
from dsrl_jax.training.device.replay import count_columns
from experiments.cli.machine import library_versions
from experiments.cli.values import format_value
from experiments.run_dir.metrics import score
from experiments.run_dir.state import read_rows

# A weight with its two moments and its target, float32, and a byte of the mask.
_BYTES_A_WEIGHT = 4 * 4 + 1


def plan(experiment: Experiment, spaces: Spaces, directory: Path) -> str:
    """Returns the resolved settings, layers with densities, and expected memory and disk."""
    settings = {
        name: value for name, value in describe(experiment).items() if name not in NOT_A_SETTING
    }
    lines = [f"{experiment.algo} on {environment(experiment, spaces)}", ""]
    for name, value in settings.items():
        text = format_value(tuple(value) if isinstance(value, list) else value)
        lines.append(f"{name:<20} {text}")
    lines += ["", f"{'layer':<20} {'shape':>11} {'density':>8} {'connections':>12}"]
    for network, layers in network_layers(spaces, experiment.agent).items():
        for layer in layers:
            shape = f"{layer.n_in}x{layer.n_out}"
            lines.append(
                f"{network + ' ' + layer.name:<20} {shape:>11} {layer.density:>8.4f} "
                f"{layer.connections:>12,.0f}"
            )
    updates = experiment.updates_at(experiment.loop.steps)
    cost = expected_cost(spaces, experiment.agent, updates)
    memory, disk = storage(experiment, spaces, cost)
    where = " on the device" if experiment.brax else ""
    lines += [
        "",
        f"connections          {cost.connections:,.0f} of {cost.dense_weights:,} weights, "
        f"sparsity {cost.sparsity:.2%}",
        f"training FLOPs       {cost.training_flops:.3e} ({updates:,} updates), "
        f"{cost.ratio_to_dense:.4f} of dense",
        f"memory               about {memory / 1e6:,.0f} MB for replay and networks{where}",
        f"disk                 about {disk / 1e6:,.0f} MB in {directory}",
    ]
    return "\n".join(lines)


def environment(experiment: Experiment, spaces: Spaces) -> str:
    """Returns the environment with its sizes and the version of its simulator."""
    library = {"gymnasium": "mujoco"}.get(experiment.backend, experiment.backend)
    version = library_versions(experiment.backend).get(library)
    simulator = f", {library} {version}" if version else ""
    if experiment.brax:
        simulator += f" {experiment.brax.brax_backend}, {experiment.brax.num_envs} at once"
    preset = "" if experiment.env_preset == "v5" else f"preset {experiment.env_preset}, "
    return (
        f"{experiment.env} ({preset}{spaces.observation_size} observations, {spaces.action_size} "
        f"actions{simulator})"
    )


def notes(experiment: Experiment, spaces: Spaces) -> list[str]:
    """Returns notes on what a user may not expect of this run."""
    found = list(experiment.changes)
    agent, loop = experiment.agent, experiment.loop
    for network, layers in network_layers(spaces, agent).items():
        found += [
            f"{network}: {layer.name} comes out dense, its {layer.weights:,} weights are fewer "
            "than its share of connections"
            for layer in layers
            if is_sparse_layer(agent.sparse, network, layer.name) and layer.density == 1
        ]
    if experiment.preset == "official" and not agent.sparse.last_adaptation:
        found.append(f"no last adaptation: there are no {OFFICIAL_LAST_ADAPTATION:,} updates")
    if policy := experiment.initial_policy:
        found.append(
            f"in the first {loop.start_steps:,} steps {policy.algo}, seed {policy.seed}, acts, "
            f"trained for {policy.env_step:,} steps"
        )
    if not experiment.updates_at(loop.steps):
        found.append(f"no update: all {loop.steps:,} steps come before the first one")
    return found


def densities(experiment: Experiment, spaces: Spaces) -> dict[str, dict[str, float]]:
    """Returns each layer's density, by network."""
    networks = network_layers(spaces, experiment.agent).items()
    return {name: {layer.name: layer.density for layer in layers} for name, layers in networks}


def storage(experiment: Experiment, spaces: Spaces, cost: Cost) -> tuple[float, float]:
    """Returns the expected bytes in memory and on disk."""
    loop, members = experiment.loop, len(experiment.seeds)
    on_host = spaces.observation_size + spaces.action_size + 3
    row = 4 * (count_columns(spaces) if experiment.brax else on_host)
    networks = members * cost.dense_weights * _BYTES_A_WEIGHT
    memory = members * row * min(loop.replay_size, loop.steps) + networks
    # Three checkpoints, and the space to write one.
    return memory, members * row * loop.steps + 5 * networks


def results(experiment: Experiment, spaces: Spaces, directory: Path) -> str:
    """Returns a row for each seed: final, last10, LCA, connections, sparsity, training FLOPs."""
    header = (
        f"{'seed':>5} {'final':>9} {'last10':>9} {'LCA':>8} {'connections':>12} "
        f"{'sparsity':>9} {'training FLOPs':>15} {'of dense':>9}"
    )
    lines = [f"{experiment.algo} on {environment(experiment, spaces)}", header]
    evaluations = read_rows(directory / "evaluations.csv")
    training = read_rows(directory / "training.csv")
    for seed in experiment.seeds:
        own = [row for row in evaluations if int(row["seed"]) == seed]
        last = [row for row in training if int(row["seed"]) == seed][-1]
        found = score(
            [int(row["env_step"]) for row in own],
            [float(row["return_mean"]) for row in own],
            experiment.loop.eval_period,
        )
        cost = actual_cost(
            spaces,
            experiment.agent,
            int(own[-1]["updates"]),
            int(last["actor_connections"]),
            int(last["critics_connections"]),
        )
        lines.append(
            f"{seed:>5} {found.final:>9.1f} {found.last10:>9.1f} "
            f"{found.learning_curve_area:>8.4f} {cost.connections:>12,} {cost.sparsity:>9.2%} "
            f"{cost.training_flops:>15.3e} {cost.ratio_to_dense:>9.4f}"
        )
    return "\n".join(lines)
