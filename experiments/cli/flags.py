"""The flags of the commands: every setting's is made from its field, none is typed twice."""

import dataclasses
import re
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, get_origin

from absl import flags

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.presets import ALGORITHMS, NOT_A_SETTING, PRESETS, START_STEPS
from dsrl_jax.config.settings import flatten, near_names, settings_of
from experiments.cli.values import UsageError, check_different, format_value, parse_value

# By agent, for flags that both have with defaults of their own.
AGENTS = {"TD3": TD3Config, "SAC": SACConfig}
MOST_SEEDS = 10_000

# What absl says of a flag that takes no other value, in our words.
_YES_OR_NO = r"must be true or false, got \1"

BY_TASK = ("lambda1", "lambda2")


def make_flags() -> flags.FlagValues:
    """All flags of a run, unparsed."""
    values = make_experiment_flags()
    add: dict[str, Any] = {"flag_values": values, "module_name": "a run"}
    _define_what_is_run(add)
    _define_where_it_computes(add)
    flags.DEFINE_bool(
        "dry_run",
        False,
        "print the resolved settings, densities, and expected memory and disk, and stop",
        **add,
    )
    return values


def _define_what_is_run(add: dict[str, Any]) -> None:
    flags.DEFINE_string("seed", None, "the seed of a single run; default 0", **add)
    flags.DEFINE_string("seeds", None, "several seeds, trained in lockstep: 0:5 or 1,2,7", **add)
    flags.DEFINE_string(
        "run_dir",
        None,
        "where results go; default: runs/ and a name made from "
        "what is run, so that the same command continues it",
        **add,
    )
    flags.DEFINE_string(
        "initial_policy",
        None,
        "the run directory of a trained policy on the same environment, not with backend brax: it "
        "acts in the first start_steps steps, exploring as it was trained, not randomly (Figure 3)",
        **add,
    )
    flags.DEFINE_bool(
        "resume",
        True,
        "continue the run that the run directory holds, exactly; with --noresume it is refused",
        **add,
    )


def _define_where_it_computes(add: dict[str, Any]) -> None:
    flags.DEFINE_string("device", "cpu", "cpu, gpu or tpu; one seed is fastest on a CPU", **add)
    flags.DEFINE_string("threads", None, "CPU threads for the networks; default: all cores", **add)
    flags.DEFINE_string(
        "devices",
        None,
        "how many share the seeds, each a part of equal size; default: with backend brax as many "
        "of those there are as can, else 1",
        **add,
    )
    flags.DEFINE_string(
        "distributed",
        None,
        "with backend brax: several processes train one run with the devices of all; auto where "
        "Slurm or MPI starts them, else ADDRESS:PORT,PROCESSES,PROCESS; the first one writes",
        **add,
    )
    flags.DEFINE_bool(
        "deterministic",
        False,
        "on a GPU: the same numbers in every run, for an exact resume; slower. A CPU's always are",
        **add,
    )


def make_experiment_flags() -> flags.FlagValues:
    """The flags that say what is computed. A setting that is not given is None: presets decide."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "the experiment"}
    flags.DEFINE_string(
        "env",
        "halfcheetah",
        "halfcheetah (default), hopper, walker2d, ant, humanoid, "
        "a Gymnasium id, or package.module:Id-v0 for one's own; with backend brax any of Brax's "
        "names, or package.module:name of a callable that makes one",
        **add,
    )
    flags.DEFINE_string(
        "env_preset",
        "v5",
        "the version that a short name means, v5 (default), or v3: the nearest to the paper's on "
        "today's Gymnasium",
        **add,
    )
    flags.DEFINE_string(
        "backend",
        "gymnasium",
        "gymnasium (default); envpool for EnvPool's tasks, -v3 among them (pip install "
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
    for name, field in _settings().items():
        module = _of_what(field)
        flags.DEFINE_string(name, None, describe(field), flag_values=values, module_name=module)
    return values


def describe(field: dataclasses.Field) -> str:
    """A setting's help: what it is, allowed values, unit, default, source."""
    meta = field.metadata
    unit = f", in {meta['unit']}" if meta["unit"] else ""
    return f"{meta['description']}; {meta['limit'].text}{unit}; default {_describe_default(field)}"


def help_text(values: flags.FlagValues) -> str:
    """All flags, by what they set, with their help."""
    lines = []
    for group, members in values.flags_by_module_dict().items():
        lines.append(f"\nFlags of {group}:")
        for flag in members:
            lines.append(f"  --{flag.name}")
            lines += textwrap.wrap(
                flag.help, 96, initial_indent="      ", subsequent_indent="      "
            )
    return "\n".join(lines)


def parse(
    values: flags.FlagValues,
    arguments: list[str],
    *,
    stray: bool = False,
    of_a_run: Collection[str] = (),
) -> list[str]:
    """Parses a command line into `values`; returns what is no flag, where that is allowed.

    Args:
      of_a_run: flags that experiments.run alone has.
    Raises:
      UsageError: for an unknown flag (naming the near ones), a bad value, a stray argument.
    """
    try:
        rest = values(["run", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        if error.flagname in of_a_run:
            raise UsageError(
                f"--{error.flagname} is of a single run, experiments.run: leave it out"
            ) from error
        hint = near_names(error.flagname, values, prefix="--")
        raise UsageError(
            f"unknown flag --{error.flagname}{hint} (--help lists all flags)"
        ) from error
    except flags.Error as error:
        said = " ".join(str(error).split())
        said = re.sub(r"\('Non-boolean argument to boolean flag', (.*)\)$", _YES_OR_NO, said)
        raise UsageError(said.removeprefix("ERROR:: ")) from error
    if rest and not stray:
        raise UsageError(f"unexpected argument {rest[0]!r}; flags are written --name=value")
    return rest


def given_settings(values: flags.FlagValues) -> dict[str, Any]:
    """The settings given on the command line, in their fields' types.

    Raises:
      UsageError: for a value that is not of its setting's type.
    """
    return {
        name: parse_value(name, field.type, str(values[name].value))
        for name, field in _settings().items()
        if values[name].present
    }


def given_lists(values: flags.FlagValues) -> dict[str, tuple[Any, ...]]:
    """As `given_settings`, of lists: 0.1,0.2; or 64,64;256,256 where a value has commas itself.

    Raises:
      UsageError: for a value that is not of its setting's type, or that is named twice.
    """
    found = {}
    for name, field in _settings().items():
        if values[name].present:
            comma = ";" if get_origin(field.type) is tuple else ","
            words = str(values[name].value).split(comma)
            found[name] = tuple(parse_value(name, field.type, word) for word in words)
            check_different(name, found[name])
    return found


def parse_seeds(values: flags.FlagValues) -> tuple[int, ...]:
    """The seeds that --seed or --seeds name; 0:5 is 0, 1, 2, 3, 4. Raises UsageError."""
    if values["seed"].present and values["seeds"].present:
        raise UsageError("give either --seed or --seeds, not both")
    given = [values[name].value for name in ("seed", "seeds") if values[name].present]
    text = str(given[0]) if given else "0"
    try:
        if values.seeds and ":" in text:
            first, end = (int(part) for part in text.split(":"))
            seeds: Sequence[int] = range(first, end)
        else:
            seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds must be like 0:5 or 1,2,7, got {text!r}") from None
    if not seeds:
        raise UsageError(f"--seeds must name at least one seed, like 0:5 or 1,2,7, got {text!r}")
    if seeds[MOST_SEEDS:]:
        raise UsageError(f"--seeds must name at most {MOST_SEEDS:,} seeds, got {text!r}")
    return tuple(seeds)


def _settings() -> dict[str, dataclasses.Field]:
    """Every setting that has a flag, by name; the loop's first."""
    configs = (LoopConfig, BraxConfig, *AGENTS.values())
    fields = [field for config in configs for field in settings_of(config)]
    named = {field.name: field for field in reversed(fields)}  # TD3's where agents share a name
    return {field.name: named[field.name] for field in fields if field.name not in NOT_A_SETTING}


def _of_what(field: dataclasses.Field) -> str:
    """What a setting is of, for the headings of the help."""
    if field in settings_of(LoopConfig):
        return "the loop"
    return "the backend brax" if field in settings_of(BraxConfig) else "the agent"


def _describe_default(field: dataclasses.Field) -> str:
    """One default and its source, or each agent's own."""
    source = field.metadata["source"]
    if field.name in BY_TASK:
        return f"by task and agent, {format_value(field.default)} for TD3 on HalfCheetah ({source})"
    if field.name == "start_steps":
        starts = [f"{START_STEPS[config]} for {agent}" for agent, config in AGENTS.items()]
        return f"{', '.join(starts)} ({source})"
    found = {}
    for agent, config in AGENTS.items():
        own = {own.name: own.metadata["source"] for own in settings_of(config)}
        if field.name in own:
            value = format_value(flatten(config())[field.name])
            found[agent] = f"{value} ({own[field.name]})"
    if not found:
        return f"{format_value(field.default)} ({source})"
    if len({text.split()[0] for text in found.values()}) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{agent} {text}" for agent, text in found.items())
