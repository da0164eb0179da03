"""Defines and reads the flags of the commands. Every setting's flag is made from its field."""

import dataclasses
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

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


class Flag(NamedTuple):
    """A flag that is not a setting. If `kind` is int, its value must be at least 1."""

    name: str
    kind: type[str] | type[int] | type[bool]
    default: str | bool | None
    text: str


HELP = Flag("help", bool, False, "print this and stop")
_EXPERIMENT = (
    Flag(
        "env",
        str,
        "halfcheetah",
        "halfcheetah (default), hopper, walker2d, ant, humanoid, a Gymnasium id, or "
        "package.module:Id-v0 for your own; with backend brax a Brax name, or package.module:name "
        "of a function that makes an environment",
    ),
    Flag(
        "env_preset",
        str,
        "v5",
        "the version that a short name means: v5 (default), or v3, the nearest to the paper's on "
        "today's Gymnasium",
    ),
    Flag(
        "backend",
        str,
        "gymnasium",
        "gymnasium (default); envpool for EnvPool's tasks, which include -v3 (pip install "
        "'dsrl_jax[envpool]'); or brax: environments, replay and updates in one compiled loop on "
        "the device (pip install 'dsrl_jax[brax]')",
    ),
    Flag("algo", str, "ds_td3", f"{', '.join(ALGORITHMS)}; default: ds_td3"),
    Flag(
        "preset",
        str,
        PRESETS[0],
        "paper (default): the paper's text; official: the authors' code where it differs; "
        "figure1: SAC with soft targets, as in Figure 1",
    ),
    HELP,
)
_RUN = (
    Flag("seed", str, None, "the seed of a single run; default: 0"),
    Flag("seeds", str, None, "several seeds, trained in lockstep: 0:5 or 1,2,7"),
    Flag(
        "run_dir",
        str,
        None,
        "directory of the results; default: runs/NAME with a name made from the settings, so that "
        "the same command continues the run",
    ),
    Flag(
        "initial_policy",
        str,
        None,
        "run directory of a policy trained on the same environment; it acts in the first "
        "start_steps steps, with the exploration of its training, instead of random actions "
        "(Figure 3); not with backend brax",
    ),
    Flag(
        "resume",
        bool,
        True,
        "continue the run in the run directory exactly; --noresume stops with an error if there "
        "is one",
    ),
    Flag("device", str, "cpu", "cpu, gpu or tpu; one seed is fastest on a CPU"),
    Flag("threads", int, None, "CPU threads for the networks; default: all cores"),
    Flag(
        "devices",
        int,
        None,
        "how many devices share the seeds, in parts of equal size; default: 1, with backend brax "
        "as many as can share them",
    ),
    Flag(
        "distributed",
        str,
        None,
        "with backend brax: several processes train one run on all their devices; auto if Slurm or "
        "MPI starts them, else ADDRESS:PORT,PROCESSES,PROCESS; the first process writes",
    ),
    Flag(
        "deterministic",
        bool,
        False,
        "on a GPU: the same numbers in every run, for an exact resume; slower. A CPU always gives "
        "the same numbers",
    ),
    Flag(
        "dry_run",
        bool,
        False,
        "print the resolved settings, densities, and expected memory and disk, and stop",
    ),
)

_AGENTS = {"TD3": TD3Config, "SAC": SACConfig}
# Each agent's defaults with their sources.
_DEFAULTS = {
    agent: {
        field.name: f"{format_value(flatten(config())[field.name])} ({field.metadata['source']})"
        for field in settings_of(config)
    }
    for agent, config in _AGENTS.items()
}
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


class _Parser(flags.ArgumentParser):
    """Lets absl read a flag with a function of its text."""

    def __init__(self, read: Callable[[str], Any]):
        self.read = read

    def parse(self, argument: str) -> Any:
        return self.read(argument)


def make_flags(*, of_a_run: bool = True, lists: bool = False) -> flags.FlagValues:
    """Returns the flags that describe an experiment, unparsed. Presets decide what is not given.

    Args:
      of_a_run: whether to include the flags that say how the experiment is run.
      lists: whether each setting takes a list of values, as in a sweep.
    """
    values = flags.FlagValues()
    define(values, "the experiment", _EXPERIMENT)
    read = parse_list if lists else parse_value
    for name, (heading, field) in _SETTINGS.items():
        parser = _Parser(partial(read, name, field.type))
        add: Any = {"flag_values": values, "module_name": heading}
        flags.DEFINE(parser, name, None, describe(field), **add)
    if of_a_run:
        define(values, "a run", _RUN)
    return values


def define(values: flags.FlagValues, heading: str, table: Iterable[Flag]) -> None:
    """Defines flags under a heading of the help."""
    add: Any = {"flag_values": values, "module_name": heading}
    for name, kind, default, text in table:
        if kind is bool:
            short_name = "h" if name == "help" else None
            flags.DEFINE_bool(name, default, text, short_name=short_name, **add)
        elif kind is int:
            flags.DEFINE(_Parser(partial(parse_count, name)), name, default, text, **add)
        else:
            flags.DEFINE(flags.ArgumentParser(), name, default, text, **add)


def describe(field: dataclasses.Field) -> str:
    """Returns a setting's help: what it is, allowed values, unit, default, source.

    The default and its source are by agent if the agents differ.
    """
    meta = field.metadata
    unit = f", in {meta['unit']}" if meta["unit"] else ""
    found = {agent: own[field.name] for agent, own in _DEFAULTS.items() if field.name in own}
    if field.name in ("lambda1", "lambda2"):
        value = format_value(field.default)
        default = f"by task and agent, {value} for TD3 on HalfCheetah ({meta['source']})"
    elif field.name == "start_steps":
        starts = [f"{START_STEPS[config]} for {agent}" for agent, config in _AGENTS.items()]
        default = f"{', '.join(starts)} ({meta['source']})"
    elif not found:
        default = f"{format_value(field.default)} ({meta['source']})"
    elif len({text.split()[0] for text in found.values()}) == 1:
        default = next(iter(found.values()))
    else:
        default = ", ".join(f"{agent} {text}" for agent, text in found.items())
    return f"{meta['description']}; {meta['limit'].text}{unit}; default {default}"


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
