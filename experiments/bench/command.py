"""The benchmarks by name, and their command line, which is checked before JAX is imported."""

import importlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from dsrl_jax.config.presets import ALGORITHMS, check_choice
from experiments.bench.measure import MeasurementError, Report
from experiments.cli.flags import help_text, parse
from experiments.cli.machine import check_device, choose_device, describe_machine, keep_freed_memory
from experiments.cli.values import UsageError, check_different, parse_value


class Benchmark(NamedTuple):
    """A function of a module of this package, by the name of the benchmark."""

    module: str
    summary: str
    defaults: dict[str, Any]  # of its flags; the function takes them by name


ALL = ",".join(ALGORITHMS)
TASKS = "halfcheetah,hopper,walker2d,ant,humanoid"
PAPER = "256,256"  # hidden sizes

BENCHMARKS = {
    "update": Benchmark(
        "updates",
        "updates per second of every algorithm in one compiled scan, against dense",
        dict(repetitions=5, updates=1000, algos=ALL, hidden_sizes=PAPER),
    ),
    "loop": Benchmark(
        "loops",
        "a training step by part: update in a scan, one call a step, environment, whole loop",
        dict(
            repetitions=3, steps=1000, env="halfcheetah", algos="ds_td3,ds_sac", hidden_sizes=PAPER
        ),
    ),
    "members": Benchmark(
        "updates",
        "seed-updates per second and memory of several members in one program; cost of adapting",
        dict(repetitions=3, updates=100, adaptation_period=1000, members=None, hidden_sizes=PAPER),
    ),
    "scale": Benchmark(
        "updates",
        "time and memory of an update by width and sparsity, against dense",
        dict(
            repetitions=3,
            updates=200,
            algo="ds_td3",
            widths="256,512,1024,2048",
            sparsities="0.5,0.8,0.9,0.95",
        ),
    ),
    "selection": Benchmark(
        "functions",
        "the largest entries of a kernel by exact search, sort and top_k",
        dict(repetitions=5, calls=20, size=256),
    ),
    "sparsify": Benchmark(
        "functions",
        "a step of AdamW, and of sparsify around it, between two adaptations",
        dict(repetitions=9, calls=50, size=1024, layers=4),
    ),
    "export": Benchmark(
        "functions",
        "size of an exported actor, and time of one action by NumPy and by JAX; use --threads=1",
        dict(repetitions=7, calls=1000, sparsities="0,0.5,0.9,0.98"),
    ),
    "evaluation": Benchmark(
        "loops",
        "one evaluation of each task, and the share of a run that evaluations take",
        dict(repetitions=3, steps=500, episodes=10, envs=TASKS, algo="ds_td3", hidden_sizes=PAPER),
    ),
    "startup": Benchmark(
        "startup",
        "from typing the command to the first update, without and with cached programs",
        dict(
            repetitions=2,
            env="halfcheetah",
            algo="ds_td3",
            random_steps=256,
            episodes=10,
            hidden_sizes=PAPER,
        ),
    ),
    "peers": Benchmark(
        "peers",
        "whole loops of DS-TD3 and DS-SAC against TD3 and SAC of SBX on HalfCheetah-v5",
        dict(repetitions=3, python=None, warm_up=2000, steps=5000),
    ),
}

HELP = {
    "repetitions": "measurements of every side, in turn",
    "updates": "updates in one measurement; every 1000 contain one adaptation",
    "steps": "steps in one measurement",
    "calls": "calls in one measurement",
    "adaptation_period": "updates in one measurement of DS-TD3 with one adaptation and with none",
    "size": "rows and columns of a square kernel, at least 2",
    "sparsities": "shares of absent weights, one or more",
    "layers": "number of square kernels",
    "hidden_sizes": "units of the hidden layers",
    "widths": "units of each of the two hidden layers, one or more; wider ones make fewer updates",
    "env": "a task of experiments.run",
    "envs": "tasks of experiments.run, one or more",
    "algo": ", ".join(ALGORITHMS),
    "algos": "one or more of " + ", ".join(ALGORITHMS),
    "members": "numbers of members; default: 1,2,4,8, on other devices doubled while memory lasts",
    "episodes": "episodes in an evaluation",
    "random_steps": "steps before the first update",
    "python": "interpreter of an environment that has sbx-rl; without it, peers says how to get it",
    "warm_up": "updates before those measured; rounded up, so that both sides start at one step",
}

WHOLE_NUMBERS = ("hidden_sizes", "members", "widths")
# Each value makes a row or a column. Hidden sizes may repeat.
DIFFERENT = ("algos", "envs", "members", "sparsities", "widths")
MEMBERS = {"cpu": "1,2,4,8"}
MEMBERS_ELSEWHERE = ",".join(str(2**power) for power in range(13))


def main(arguments: list[str]) -> int:
    """Runs a benchmark by name.

    Returns:
      The exit status: 0; 1 if a measurement failed; 2 if the command line is wrong.
    """
    try:
        name = choose(arguments)
        if name is None:
            print(overview())
            return 0
        values = make_flags(name)
        position = arguments.index(name)
        parse(values, arguments[:position] + arguments[position + 1 :])
        if values.help:
            print(f"{name}: {BENCHMARKS[name].summary}\n{help_text(values)}")
            return 0
        options = read_options(name, values)
        choose_device(values.device, values.threads)
        check_device(values.device)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keep_freed_memory()
    print(f"{name}: {BENCHMARKS[name].summary}", flush=True)
    module = importlib.import_module(f"experiments.bench.{BENCHMARKS[name].module}")
    benchmark: Callable[..., Report] = getattr(module, name)
    signal.signal(signal.SIGTERM, exit_on_signal)
    try:
        report = benchmark(**options)
    except (ValueError, MeasurementError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print("\n\n".join(report.tables))
    if values.json:
        machine = describe_machine() | {"threads": values.threads}  # None: all cores
        run = {"benchmark": name, "settings": options, "machine": machine}
        print(json.dumps({**report.results, **run, "samples": report.samples}))
    return 0


def exit_on_signal(number: int, _: object) -> None:
    """Exits by an exception, so that the processes being measured are ended too."""
    sys.exit(128 + number)


def choose(arguments: list[str]) -> str | None:
    """Returns the benchmark that is named first, or None for `--help` without a name."""
    named = [argument for argument in arguments if not argument.startswith("-")]
    if not named:
        if {"--help", "-h"} & set(arguments):
            return None
        raise UsageError(f"name one benchmark of {', '.join(BENCHMARKS)} (--help describes them)")
    check_choice("benchmark", named[0], BENCHMARKS)
    return named[0]


def overview() -> str:
    """Lists all benchmarks, one per line."""
    lines = [f"  {name:<11} {benchmark.summary}" for name, benchmark in BENCHMARKS.items()]
    usage = "python -m experiments.bench NAME [--json] [--flag=value ...]; NAME --help lists flags"
    return "\n".join([usage, *lines])


def make_flags(name: str) -> flags.FlagValues:
    """Returns the flags of a benchmark, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": name}
    flags.DEFINE_bool("help", False, "print this help and exit", short_name="h", **add)
    flags.DEFINE_bool("json", False, "print one JSON object as the last line", **add)
    flags.DEFINE_string("device", "cpu", "cpu, gpu or tpu", **add)
    flags.DEFINE_integer("threads", None, "CPU threads for JAX; default: all cores", 1, **add)
    for flag, default in BENCHMARKS[name].defaults.items():
        text = HELP[flag] if default is None else f"{HELP[flag]}; default {default}"
        if isinstance(default, int):
            flags.DEFINE_integer(flag, default, text, 1, **add)
        else:
            flags.DEFINE_string(flag, default, text, **add)
    return values


def read_options(name: str, values: flags.FlagValues) -> dict[str, Any]:
    """Returns the arguments of a benchmark's function. Raises ValueError: what is allowed."""
    options: dict[str, Any] = {flag: values[flag].value for flag in BENCHMARKS[name].defaults}
    if name == "members" and options["members"] is None:
        options["members"] = MEMBERS.get(values.device, MEMBERS_ELSEWHERE)
    if name == "startup":
        options["device"] = values.device
    if name == "selection" and options["size"] < 2:
        raise UsageError(f"--size must be at least 2, got {options['size']}")
    if name == "peers" and values.device != "cpu":
        raise UsageError(
            f"--device must be cpu for peers, because SBX runs there, got {values.device}"
        )
    for flag in options.keys() & set(WHOLE_NUMBERS):
        options[flag] = parse_value(flag, tuple[int, ...], options[flag])
        if min(options[flag]) < 1:
            raise UsageError(f"--{flag} must be at least 1 each, got {options[flag]}")
    if "sparsities" in options:
        sparsities = parse_value("sparsities", tuple[float, ...], options["sparsities"])
        if not all(0 <= sparsity < 1 for sparsity in sparsities):
            raise UsageError(f"--sparsities must be at least 0 and below 1, got {sparsities}")
        options["sparsities"] = sparsities
    for flag in options.keys() & {"algos", "envs"}:
        options[flag] = tuple(options[flag].split(","))
    for flag in options.keys() & set(DIFFERENT):
        check_different(flag, options[flag])
    check_names(name, options)
    return options


def check_names(name: str, options: dict[str, Any]) -> None:
    """Raises ValueError for an algorithm or a task that does not exist."""
    for algo in options.get("algos", [options["algo"]] if "algo" in options else []):
        check_choice("algo", algo, ALGORITHMS)
    sparse = [algo for algo, (_, topology) in ALGORITHMS.items() if topology != "dense"]
    if name == "scale" and options["algo"] not in sparse:
        raise UsageError(f"--algo must be one of {', '.join(sparse)}, got {options['algo']}")
    if envs := options.get("envs", [options["env"]] if "env" in options else []):
        from dsrl_jax.envs import catalog

        for env in envs:
            catalog.resolve_id(env)
