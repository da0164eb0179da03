"""Prints what a method costs: python -m experiments.costs --env=ant --algo=ds_sac.

Counts expected connections, for any setting of experiments.run; --all compares the paper's methods
and environments. The numbers include actor and both critics, not the targets.
"""

import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from dsrl_jax.config.presets import Experiment, check_choice
from experiments.cli.command import start
from experiments.cli.flags import (
    Flag,
    define,
    given_experiment,
    help_text,
    make_flags,
    parse,
)
from experiments.cli.values import UsageError

if TYPE_CHECKING:
    from dsrl_jax.agents.types import Spaces

FORMATS = ("text", "csv", "json")
SIZES = ("observation_size", "action_size")
_FLAGS = (
    Flag("all", bool, False, "the paper's methods on the paper's environments"),
    Flag("format", str, "text", ", ".join(FORMATS)),
    *(Flag(name, int, None, "instead of the environment's own") for name in SIZES),
)


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status."""
    values = make_flags(of_a_run=False)
    define(values, "costs", _FLAGS)
    try:
        parse(values, arguments)
        if values.help:
            print(__doc__ + "\n" + help_text(values))
            return 0
        check_choice("--format", values.format, FORMATS)

        from experiments.cli import cost_report

        if values.all:
            others = [name for name in values if values[name].present]
            others = [name for name in others if name not in ("all", "format")]
            if others:
                raise UsageError(f"--all has the paper's settings, got --{others[0]}")
            print(cost_report.show_table(cost_report.compare(), values.format))
        else:
            found = cost_report.report(*choose(values))
            print(cost_report.show_report(found, values.format))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def choose(values: flags.FlagValues) -> tuple[Experiment, "Spaces"]:
    """Returns the experiment and the sizes of a command line. Raises ValueError."""
    from dsrl_jax.agents.types import Spaces
    from dsrl_jax.envs import catalog
    from experiments.cli.cost_report import unit_spaces

    experiment = given_experiment(values)
    given: dict[str, Any] = {name: values[name].value for name in SIZES if values[name].present}
    if not given:
        environment = (experiment.env, experiment.env_preset, experiment.backend)
        simulator = (experiment.brax.brax_backend,) if experiment.brax else ()
        return experiment, Spaces(*catalog.look_up_sizes(*environment, *simulator))
    if len(given) < len(SIZES):
        raise UsageError(f"--{' and --'.join(SIZES)} go together, got only {', '.join(given)}")
    return experiment, unit_spaces(*(int(given[name]) for name in SIZES))


if __name__ == "__main__":
    start(main)
