"""Defines and reads the flags of the commands. Every setting's flag is made from its field."""

import dataclasses
import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from absl import flags

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.presets import (
    ALGORITHMS,
    NOT_A_SETTING,
    PRESETS,
    START_STEPS,
    Experiment,
    check_choice,
    resolve,
)
from dsrl_jax.config.settings import flatten, near_names, settings_of
from experiments.cli.values import UsageError, format_value, parse_count, parse_list, parse_value

# Each setting that has a flag, with its heading in the help; TD3's if both agents have it.
_SETTINGS: dict[str, tuple[str, dataclasses.Field]] = {}
for _heading, _config in (
    ("the loop", LoopConfig),
    ("the backend brax", BraxConfig),
    ("the agent", TD3Config),
    ("the agent", SACConfig),
):
    for _field in settings_of(_config):
        if _field.name not in NOT_A_SETTING:
            _SETTINGS.setdefault(_field.name, (_heading, _field))
_AGENTS = {"TD3": TD3Config, "SAC": SACConfig}
# Each agent's defaults with their sources.
_DEFAULTS = {
    agent: {
        field.name: f"{format_value(flatten(config())[field.name])} ({field.metadata['source']})"
        for field in settings_of(config)
    }
    for agent, config in _AGENTS.items()
}
# Settings whose defaults depend on the task.
_BY_TASK = ("lambda1", "lambda2")


class _Parser(flags.ArgumentParser):
    """Lets absl read a flag with a function of its text."""

    def __init__(self, read: Callable[[str], Any]):
        self.read = read

    def parse(self, argument: str) -> Any:
        return self.read(argument)


def define_count(name: str, help_text: str, **add: Any) -> None:
    """Defines a flag that takes a whole number of at least 1, or is None."""
    flags.DEFINE(_Parser(partial(parse_count, name)), name, None, help_text, **add)


def make_flags(*, lists: bool = False) -> flags.FlagValues:
    """Returns all flags of a run, unparsed.

    Args:
      lists: whether each setting takes a list of values, as in a sweep.
    """
    values = make_experiment_flags(lists=lists)
    add: dict[str, Any] = {"flag_values": values, "module_name": "a run"}
    _define_outputs(add)
    _define_devices(add)
    flags.DEFINE_bool(
        "dry_run",
        False,
        "print the resolved settings, densities, and expected memory and disk, and stop",
        **add,
    )
    return values


def _define_outputs(add: dict[str, Any]) -> None:
    flags.DEFINE_string("seed", None, "the seed of a single run; default: 0", **add)
    flags.DEFINE_string("seeds", None, "several seeds, trained in lockstep: 0:5 or 1,2,7", **add)
    flags.DEFINE_string(
        "run_dir",
        None,
        "directory of the results; default: runs/NAME with a name made from the settings, so that "
        "the same command continues the run",
        **add,
    )
    flags.DEFINE_string(
        "initial_policy",
        None,
        "run directory of a policy trained on the same environment; it acts in the first "
        "start_steps steps, with the exploration of its training, instead of random actions "
        "(Figure 3); not with backend brax",
        **add,
    )
    flags.DEFINE_bool(
        "resume",
        True,
        "continue the run in the run directory exactly; --noresume stops with an error if there "
        "is one",
        **add,
    )


def _define_devices(add: dict[str, Any]) -> None:
    flags.DEFINE_string("device", "cpu", "cpu, gpu or tpu; one seed is fastest on a CPU", **add)
    define_count("threads", "CPU threads for the networks; default: all cores", **add)
    define_count(
        "devices",
        "how many devices share the seeds, in parts of equal size; default: 1, with backend brax "
        "as many as can share them",
        **add,
    )
    flags.DEFINE_string(
        "distributed",
        None,
        "with backend brax: several processes train one run on all their devices; auto if Slurm or "
        "MPI starts them, else ADDRESS:PORT,PROCESSES,PROCESS; the first process writes",
        **add,
    )
    flags.DEFINE_bool(
        "deterministic",
        False,
        "on a GPU: the same numbers in every run, for an exact resume; slower. A CPU always gives "
        "the same numbers",
        **add,
    )


def make_experiment_flags(*, lists: bool = False) -> flags.FlagValues:
    """Returns the flags that describe an experiment. Presets decide what is not given.

    Args:
      lists: see `make_flags`.
    """
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "the experiment"}
    flags.DEFINE_string(
        "env",
        "halfcheetah",
        "halfcheetah (default), hopper, walker2d, ant, humanoid, a Gymnasium id, or "
        "package.module:Id-v0 for your own; with backend brax a Brax name, or package.module:name "
        "of a function that makes an environment",
        **add,
    )
    flags.DEFINE_string(
        "env_preset",
        "v5",
        "the version that a short name means: v5 (default), or v3, the nearest to the paper's on "
        "today's Gymnasium",
        **add,
    )
    flags.DEFINE_string(
        "backend",
        "gymnasium",
        "gymnasium (default); envpool for EnvPool's tasks, which include -v3 (pip install "
        "'dsrl_jax[envpool]'); or brax: environments, replay and updates in one compiled loop on "
        "the device (pip install 'dsrl_jax[brax]')",
        **add,
    )
    flags.DEFINE_string("algo", "ds_td3", f"{', '.join(ALGORITHMS)}; default: ds_td3", **add)
    flags.DEFINE_string(
        "preset",
        PRESETS[0],
        "paper (default): the paper's text; official: the authors' code where it differs; "
        "figure1: SAC with soft targets, as in Figure 1",
        **add,
    )
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    read = parse_list if lists else parse_value
    for name, (heading, field) in _SETTINGS.items():
        parser = _Parser(partial(read, name, field.type))
        add = {"flag_values": values, "module_name": heading}
        flags.DEFINE(parser, name, None, describe(field), **add)
    return values


def describe(field: dataclasses.Field) -> str:
    """Returns a setting's help: what it is, allowed values, unit, default, source."""
    meta = field.metadata
    unit = f", in {meta['unit']}" if meta["unit"] else ""
    return f"{meta['description']}; {meta['limit'].text}{unit}; default {_describe_default(field)}"


def _describe_default(field: dataclasses.Field) -> str:
    """Returns the default with its source, by agent if the agents differ."""
    source = field.metadata["source"]
    if field.name in _BY_TASK:
        return f"by task and agent, {format_value(field.default)} for TD3 on HalfCheetah ({source})"
    if field.name == "start_steps":
        starts = [f"{START_STEPS[config]} for {agent}" for agent, config in _AGENTS.items()]
        return f"{', '.join(starts)} ({source})"
    found = {agent: own[field.name] for agent, own in _DEFAULTS.items() if field.name in own}
    if not found:
        return f"{format_value(field.default)} ({source})"
    if len({text.split()[0] for text in found.values()}) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{agent} {text}" for agent, text in found.items())


def help_text(values: flags.FlagValues) -> str:
    """Returns all flags with their help, grouped by what they set."""
    lines = []
    indent = " " * 6
    for heading, members in values.flags_by_module_dict().items():
        lines.append(f"\nFlags of {heading}:")
        for flag in members:
            lines.append(f"  --{flag.name}")
            lines += textwrap.wrap(flag.help, 96, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines)


def parse(
    values: flags.FlagValues,
    arguments: list[str],
    *,
    stray: bool = False,
    of_a_run: Collection[str] = (),
) -> list[str]:
    """Parses a command line into `values`; returns the arguments that are no flags.

    Args:
      stray: whether such arguments are allowed.
      of_a_run: flags that only experiments.run has.
    Raises:
      UsageError: for an unknown flag (with similar names), a bad value, a stray argument.
    """
    try:
        rest = values(["run", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        if error.flagname in of_a_run:
            raise UsageError(
                f"--{error.flagname} is a flag of experiments.run, not of a sweep: leave it out"
            ) from error
        hint = near_names(error.flagname, values, prefix="--")
        raise UsageError(
            f"unknown flag --{error.flagname}{hint} (--help lists all flags)"
        ) from error
    except flags.Error as error:
        if isinstance(error.__context__, UsageError):  # raised by a parser of ours
            raise error.__context__ from None
        text = " ".join(str(error).split()).removeprefix("ERROR:: ")
        # absl: ('Non-boolean argument to boolean flag', 'perhaps')
        text = re.sub(r"\('Non-bool[^,]*, (.*)\)$", r"must be true or false, got \1", text)
        raise UsageError(text) from error
    if rest and not stray:
        raise UsageError(f"unexpected argument {rest[0]!r}; flags are written --name=value")
    return rest


def given_settings(values: flags.FlagValues) -> dict[str, Any]:
    """Returns the settings that the command line gives, by name."""
    return {name: values[name].value for name in _SETTINGS if values[name].present}


def given_experiment(values: flags.FlagValues, seeds: Sequence[int] = (0,)) -> Experiment:
    """Returns the experiment that the command line describes.

    Imports environment libraries only after the names of method and preset are checked.

    Raises:
      ValueError: what was given, and what is allowed.
    """
    check_choice("algo", values.algo, ALGORITHMS)
    check_choice("preset", values.preset, PRESETS)
    from dsrl_jax.envs import catalog

    return resolve(
        catalog.resolve_id(values.env, values.env_preset, values.backend),
        values.algo,
        preset=values.preset,
        env_preset=values.env_preset,
        backend=values.backend,
        seeds=seeds,
        settings=given_settings(values),
    )
