"""What a method costs on an environment: python -m experiments.costs --env=ant --algo=ds_sac.

Counted by expected connections, for any setting of experiments.run; --all compares the paper's
methods and environments. The figures are of actor and both critics, without targets.
"""

import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from dsrl_jax.config.presets import Experiment, check_choice, resolve
from experiments.cli.command import start
from experiments.cli.flags import given_settings, help_text, make_experiment_flags, parse
from experiments.cli.values import UsageError, parse_value

if TYPE_CHECKING:
    from dsrl_jax.agents.types import Spaces

FORMATS = ("text", "csv", "json")
SIZES = ("observation_size", "action_size")


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status."""
    values = make_experiment_flags()
    add: Any = {"flag_values": values, "module_name": "costs"}
    flags.DEFINE_bool("all", False, "the paper's methods on the paper's environments", **add)
    flags.DEFINE_string("format", "text", ", ".join(FORMATS), **add)
    for name in SIZES:
        flags.DEFINE_string(name, None, "in place of the environment's own", **add)
    try:
        parse(values, arguments)
        if values.help:
            print(__doc__ + "\n" + help_text(values))
            return 0
        check_choice("--format", values.format, FORMATS)
        settings = given_settings(values)

        from experiments.cli import cost_report

        if values.all:
            others = [name for name in values if values[name].present]
            others = [name for name in others if name not in ("all", "format")]
            if others:
                raise UsageError(f"--all has the paper's settings, got --{others[0]}")
            print(cost_report.show_table(cost_report.compare(), values.format))
        else:
            found = cost_report.report(*choose(values, settings))
            print(cost_report.show_report(found, values.format))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def choose(values: flags.FlagValues, settings: dict[str, Any]) -> tuple[Experiment, "Spaces"]:
    """The experiment and the sizes that a command line names. Raises ValueError."""
    from dsrl_jax.agents.types import Spaces
    from dsrl_jax.envs import catalog
    from experiments.cli.cost_report import unit_spaces

    env_id = catalog.resolve_id(values.env, values.env_preset, values.backend)
    experiment = resolve(
        env_id,
        values.algo,
        preset=values.preset,
        env_preset=values.env_preset,
        backend=values.backend,
        settings=settings,
    )
    given = {name: values[name].value for name in SIZES if values[name].present}
    if not given:
        simulator = (experiment.brax.brax_backend,) if experiment.brax else ()
        environment = (env_id, values.env_preset, values.backend, *simulator)
        return experiment, Spaces(*catalog.look_up_sizes(*environment))
    if len(given) < len(SIZES):
        raise UsageError(f"--{' and --'.join(SIZES)} go together, got {', '.join(given)} alone")
    sizes = {name: parse_value(name, int, str(text)) for name, text in given.items()}
    if min(sizes.values()) < 1:
        raise UsageError(f"sizes must be at least 1, got {sizes}")
    return experiment, unit_spaces(**sizes)


if __name__ == "__main__":
    start(main)
