"""The benchmarks by name, and their command line; light, so that a mistake is told at once."""

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
    """What is measured, and the defaults of its flags by name."""

    summary: str
    defaults: dict[str, Any]


# `make bench` measures less of some, so that it ends within ten minutes on two cores.
BENCHMARKS = {
    "update": Benchmark(
        "updates a second of every algorithm in one compiled scan, and the best matrix product",
        {
            "repetitions": 5,
            "updates": 1000,
            "algos": ",".join(ALGORITHMS),
            "hidden_sizes": "256,256",
            "products": "512,1024",
        },
    ),
    "loop": Benchmark(
        "a training step: update in a scan, one call a step, environment, whole loop",
        {
            "repetitions": 3,
            "steps": 1000,
            "env": "halfcheetah",
            "algos": "ds_td3,ds_sac",
            "hidden_sizes": "256,256",
        },
    ),
    "members": Benchmark(
        "seed-updates a second and memory of several members in one program; cost of adapting",
        {
            "repetitions": 3,
            "updates": 100,
            "adaptation_period": 1000,
            "members": None,
            "hidden_sizes": "256,256",
        },
    ),
    "scale": Benchmark(
        "an update's time and memory by width and sparsity against dense; a replay's memory",
        {
            "repetitions": 3,
            "updates": 200,
            "algo": "ds_td3",
            "widths": "256,512,1024,2048",
            "sparsities": "0.5,0.8,0.9,0.95",
            "envs": "halfcheetah,hopper,walker2d,ant,humanoid",
        },
    ),
    "parts": Benchmark(
        "where an update's time goes, by its parts, for every algorithm",
        {"updates": 1000, "algos": ",".join(ALGORITHMS), "hidden_sizes": "256,256"},
    ),
    "selection": Benchmark(
        "the largest entries of a kernel: search, sort, top_k; and one pass that counts",
        {"repetitions": 5, "calls": 20, "size": 256},
    ),
    "sparsify": Benchmark(
        "a step of AdamW alone and inside sparsify, when no adaptation falls on it",
        {"repetitions": 9, "calls": 50, "size": 1024, "layers": 4},
    ),
    "export": Benchmark(
        "an exported actor's size, and the time of one action by NumPy and by JAX; --threads=1",
        {"repetitions": 7, "calls": 1000, "sparsities": "0,0.5,0.9,0.98"},
    ),
    "evaluation": Benchmark(
        "one evaluation of each task, and its share of a run",
        {
            "repetitions": 3,
            "steps": 500,
            "episodes": 10,
            "envs": "halfcheetah,hopper,walker2d,ant,humanoid",
            "algo": "ds_td3",
            "hidden_sizes": "256,256",
        },
    ),
    "checkpoint": Benchmark(
        "a checkpoint's seconds, bytes and share of a run, and what going on from it takes",
        {
            "repetitions": 5,
            "steps": 1000,
            "envs": "halfcheetah,humanoid",
            "algo": "ds_td3",
            "stored": "10000,100000,1000000",
            "period": 5000,
        },
    ),
    "startup": Benchmark(
        "from typing the command to the first update, without and with compiled programs",
        {
            "repetitions": 2,
            "env": "halfcheetah",
            "algo": "ds_td3",
            "random_steps": 256,
            "episodes": 10,
            "hidden_sizes": "256,256",
        },
    ),
    "peers": Benchmark(
        "whole loops of DS-TD3 and DS-SAC against SBX's TD3 and SAC on HalfCheetah-v5",
        {"repetitions": 3, "python": None, "warm_up": 2000, "steps": 5000},
    ),
    "document": Benchmark(
        "all of these, written into docs/performance.md; peers where --python is given",
        {"path": "docs/performance.md", "python": None, "kept": "runs/bench"},
    ),
}

HELP = {
    "repetitions": "of every side, in turn",
    "updates": "in one repetition; 1000 have one adaptation among them",
    "steps": "in one repetition",
    "calls": "in one repetition",
    "adaptation_period": "updates in one repetition of DS-TD3 with one adaptation and with none",
    "size": "of a square kernel, at least 2",
    "sparsities": "shares of weights that are absent, one or more",
    "layers": "square kernels",
    "hidden_sizes": "units of the hidden layers",
    "widths": "units of each of the two hidden layers, one or more; --updates are those at 256",
    "products": "sizes of square matrix products beside those of the networks",
    "env": "of experiments.run",
    "envs": "of experiments.run, one or more",
    "algo": ", ".join(ALGORITHMS),
    "algos": "one or more of " + ", ".join(ALGORITHMS),
    "members": "how many, one or more; default: 1,2,4,8, on a GPU doubled until one does not fit",
    "episodes": "in an evaluation",
    "random_steps": "before the first update",
    "stored": "transitions in the replay, one or more",
    "period": "transitions between two checkpoints",
    "python": "the interpreter of an environment that has sbx-rl; peers tells how to make one",
    "path": "a file of the clone, with the two marks between which it is written",
    "kept": "a folder of the clone where tables wait for the last one; the same command goes on "
    "from there, on the same machine at the same commit",
    "warm_up": "updates before those measured; more, so that steps of both begin at one",
}

WHOLE_NUMBERS = ("hidden_sizes", "products", "members", "stored", "widths")
# Each value is a row or a column of its own; of hidden_sizes two layers may well be alike.
DIFFERENT = ("algos", "envs", "members", "products", "sparsities", "stored", "widths")
MEMBERS = {"cpu": "1,2,4,8"}
MEMBERS_ELSEWHERE = ",".join(str(2**power) for power in range(13))


def main(arguments: list[str]) -> int:
    """Runs a benchmark by name.

    Returns:
      The exit status: 0, 1 for a measurement that failed, 2 for a command line that cannot be run.
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
    benchmark: Callable[..., Report] = importlib.import_module(f"experiments.bench.{name}").run
    signal.signal(signal.SIGTERM, end_by_exception)
    try:
        report = benchmark(**options)
    except (ValueError, MeasurementError, MemoryError) as error:
        # UsageError is a ValueError; what one benchmark alone can tell of its flags is another.
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print("\n\n".join(report.tables))
    if values.json:
        machine = describe_machine() | {"threads": values.threads}  # None: all cores
        what = {"benchmark": name, "settings": options, "machine": machine}
        print(json.dumps({**report.results, **what, "samples": report.samples}))
    return 0


def end_by_exception(number: int, _: object) -> None:
    """Ends at a signal by an exception, so that processes which are measured end too."""
    sys.exit(128 + number)


def choose(arguments: list[str]) -> str | None:
    """The benchmark that is named first; None where help is asked for without one."""
    named = [argument for argument in arguments if not argument.startswith("-")]
    if not named:
        if {"--help", "-h"} & set(arguments):
            return None
        raise UsageError(f"name one benchmark of {', '.join(BENCHMARKS)} (--help tells of each)")
    check_choice("benchmark", named[0], BENCHMARKS)
    return named[0]


def overview() -> str:
    """All benchmarks, a line each."""
    lines = [f"  {name:<11} {benchmark.summary}" for name, benchmark in BENCHMARKS.items()]
    usage = "python -m experiments.bench NAME [--json] [--flag=value ...]; NAME --help lists flags"
    return "\n".join([usage, *lines])


def make_flags(name: str) -> flags.FlagValues:
    """The flags of a benchmark, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": name}
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    flags.DEFINE_bool("json", False, "one JSON object on the last line", **add)
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
    """What a benchmark's `run` is called with. Raises ValueError: what is allowed."""
    options: dict[str, Any] = {flag: values[flag].value for flag in BENCHMARKS[name].defaults}
    if name == "members" and options["members"] is None:
        options["members"] = MEMBERS.get(values.device, MEMBERS_ELSEWHERE)
    if name in ("startup", "document"):
        options["device"] = values.device
    if name == "document":
        options["threads"] = values.threads
    if name == "selection" and options["size"] < 2:
        raise UsageError(f"--size must be at least 2, got {options['size']}")
    if name == "peers" and values.device != "cpu":
        raise UsageError(
            f"--device must be cpu for peers, which SBX is run on, got {values.device}"
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
    for algo in options.get("algos", [options["algo"]] if "algo" in options else []):
        check_choice("algo", algo, ALGORITHMS)
    sparse = [algo for algo, (_, topology) in ALGORITHMS.items() if topology != "dense"]
    if name == "scale" and options["algo"] not in sparse:
        raise UsageError(f"--algo must be one of {', '.join(sparse)}, got {options['algo']}")
    if envs := options.get("envs", [options["env"]] if "env" in options else []):
        from dsrl_jax.envs import catalog

        for env in envs:
            catalog.resolve_id(env)
    return options
