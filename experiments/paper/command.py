"""The paper's figures and tables: python -m experiments.paper fig2a --seeds=0:5.

Names of figures (--list tells them) execute what is missing of them: what was stopped continues,
what is done is skipped, and so are runs that were collected; several run at once. Each run is a
process of experiments.run with a run directory of its own, so that the same command goes on after
any end. `costs` prints its table.

    python -m experiments.paper --list
    python -m experiments.paper fig2a --seeds=0:5
    python -m experiments.paper fig1 --envs=halfcheetah,hopper --algos=td3,ds_td3 --steps=300000
    python -m experiments.paper collect runs/*-s0*

`collect` copies the settings and evaluations of finished runs to where they can be committed.

Exit status: 0 where all is done, 1 where a run failed or is computed by another process, 2 for a
command line that cannot be run, 143 or 130 where --time_limit, SIGTERM or Ctrl-C ended it.
"""

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import check_choice
from dsrl_jax.config.settings import settings_of
from experiments.cli.command import StopRequest, ends_on_interrupt
from experiments.cli.flags import describe, help_text, parse
from experiments.cli.machine import PLATFORMS, cores
from experiments.cli.values import UsageError, parse_seeds, parse_value
from experiments.paper.board import Board
from experiments.paper.collect import collect
from experiments.paper.figures import FIGURES, GROUPS, SEEDS, TASKS
from experiments.paper.found import find_runs, measure_rates
from experiments.paper.listing import list_figures
from experiments.paper.queue import State
from experiments.paper.tasks import Machine, Task, locate, make_tasks
from experiments.paper.wanted import Choice, choose_figures, choose_runs
from experiments.paper.work import limits, work

# Brax has other dynamics and rewards: its returns never stand beside the paper's.
BACKENDS = ("gymnasium", "envpool")


def make_flags() -> flags.FlagValues:
    """All flags, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "the paper"}
    flags.DEFINE_bool("list", False, "print what there is of each figure, and stop", **add)
    flags.DEFINE_string("envs", None, "tasks; default: all of a figure's", **add)
    flags.DEFINE_string("algos", None, "methods; default: all of a figure's", **add)
    flags.DEFINE_string("seed", None, "a single seed", **add)
    flags.DEFINE_string("seeds", None, "0:5 or 1,2,7; default: 0:5", **add)
    flags.DEFINE_string("env_preset", "v5", "the tasks' version; v3: nearest to the paper's", **add)
    flags.DEFINE_string("backend", "gymnasium", ", ".join(BACKENDS), **add)
    add["module_name"] = "this machine"
    flags.DEFINE_string("jobs", None, "runs at once; default: cores by threads, 1 on a GPU", **add)
    flags.DEFINE_string("time_limit", None, "until all runs are saved and over, in seconds", **add)
    flags.DEFINE_string("device", "cpu", "cpu, gpu or tpu", **add)
    flags.DEFINE_bool(
        "together", None, "new seeds of a variant share one program; default: not on a CPU", **add
    )
    flags.DEFINE_string("threads", None, "CPU threads of each run; default: 1 on a CPU", **add)
    flags.DEFINE_bool("deterministic", False, "on a GPU: an exact resume; slower", **add)
    flags.DEFINE_string("runs", "runs", "the folder of the run directories; default: runs", **add)
    flags.DEFINE_string(
        "results", "results", "the folder of collected runs; default: results", **add
    )
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    add["module_name"] = "each run, in place of the paper's"
    for field in settings_of(LoopConfig):
        flags.DEFINE_string(field.name, None, describe(field), **add)
    return values


# Flags beside which `costs` can be named.
_HEEDED_BY_COSTS = ("list", "runs", "results")


class Plan(NamedTuple):
    """What a command line asks for, checked."""

    figures: tuple[str, ...]
    choice: Choice
    machine: Machine
    jobs: int
    time_limit: float | None
    results: Path


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status, see above."""
    with ends_on_interrupt():
        return run(arguments, time.monotonic())


def run(arguments: list[str], begun: float) -> int:
    """The same, from a time on that a time limit counts from."""
    values = make_flags()
    try:
        names = parse(values, arguments, stray=True)
        if values.help:
            print(__doc__ + help_text(values))
            return 0
        if names[:1] == ["collect"]:
            if len(names) == 1:
                raise UsageError("collect what? python -m experiments.paper collect RUN_DIR…")
            print("\n".join(collect([Path(name) for name in names[1:]], Path(values.results))))
            return 0
        plan = prepare(values, names)
        wanted = choose_runs(plan.figures, plan.choice)
        found = find_runs(plan.machine.runs, plan.results)
    except BrokenPipeError:  # The reader has gone: `command.start` ends it.
        raise
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    located, rates = locate(wanted, found), measure_rates(found)
    if values.list:
        print(list_figures(plan.figures, located, found, plan.machine, rates, plan.jobs))
        return 0
    if "costs" in plan.figures:
        show_costs()
    tasks = make_tasks(located, found, plan.machine)
    if wanted:
        done = sum(run.is_done for run in located)
        without = set(plan.figures) - {run.figure for run in wanted} - {"costs"}
        print("".join(f"{name}: none of its runs was chosen\n" for name in sorted(without)), end="")
        print(f"{done} of {len(located)} runs are done; to compute: {len(tasks)}", flush=True)
    try:
        return compute(tasks, plan, Board(tasks, plan.jobs, rates, sys.stdout), begun)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: {error}; the same command continues once that is mended", file=sys.stderr)
        return 1


def prepare(values: flags.FlagValues, names: list[str]) -> Plan:
    """Checks a command line. Raises ValueError: what was given, and what is allowed."""
    if not names and not values.list:
        every = ", ".join([*FIGURES, *GROUPS])
        raise UsageError(f"name what to run, of {every}, or collect; --list tells more")
    figures = choose_figures(names or ["all"])
    unheeded = [name for name in values if values[name].present and name not in _HEEDED_BY_COSTS]
    if figures == ("costs",) and unheeded:
        raise UsageError(
            f"costs prints the paper's analysis and takes no --{unheeded[0]}; "
            "python -m experiments.costs counts others"
        )
    _check_folders(values)
    check_choice("--device", values.device, PLATFORMS)
    check_choice("--backend", values.backend, BACKENDS)
    is_cpu = values.device == "cpu"
    threads = _count("threads", values.threads) if values.threads else 1 if is_cpu else None
    jobs = max(1, cores() // threads) if is_cpu and threads else 1
    limit = parse_value("time_limit", float, values.time_limit) if values.time_limit else None
    if limit is not None and not 0 < limit < float("inf"):
        raise UsageError(f"--time_limit must be positive, in seconds, got {values.time_limit}")
    given = {} if is_cpu else {"device": values.device}
    given |= {"threads": str(threads)} if threads else {}
    given |= {"deterministic": "true"} if values.deterministic else {}
    together = not is_cpu if values.together is None else values.together
    runs = Path(values.runs)
    return Plan(
        figures,
        _choose(values),
        Machine(runs, tuple(f"--{name}={value}" for name, value in given.items()), together),
        _count("jobs", values.jobs) if values.jobs else jobs,
        limit,
        Path(values.results),
    )


def _check_folders(values: flags.FlagValues) -> None:
    """Another folder of results would have to be there; one of runs is made where there is none."""
    for name in ("runs", "results"):
        path = Path(str(values[name].value))
        if path.exists() and not path.is_dir():
            raise UsageError(f"--{name} must be a folder, got the file {path}")
        if name == "results" and values[name].present and not path.exists():
            raise UsageError(f"--results must be a folder that is there, got {path}")


def _choose(values: flags.FlagValues) -> Choice:
    fields = {field.name: field for field in settings_of(LoopConfig)}
    settings = {
        name: parse_value(name, field.type, str(values[name].value))
        for name, field in fields.items()
        if values[name].present
    }
    has_seeds = values["seed"].present or values["seeds"].present
    plain = Choice()
    return Choice(
        tuple(values.envs.split(",")) if values.envs else TASKS,
        tuple(values.algos.split(",")) if values.algos else plain.algos,
        parse_seeds(values) if has_seeds else SEEDS,
        values.env_preset,
        values.backend,
        settings,
    )


def _count(name: str, text: str) -> int:
    count = parse_value(name, int, text)
    if count < 1:
        raise UsageError(f"--{name} must be at least 1, got {count}")
    return count


def compute(tasks: list[Task], plan: Plan, board: Board, begun: float) -> int:
    """Runs tasks until they are done or stopped; returns the exit status."""
    with StopRequest() as request:
        end = limits(begun, plan.time_limit)
        states = work(tasks, plan.jobs, limits=end, is_asked=request.is_made, show=board.show)
    left = [directory for directory, state in states.items() if state is not State.DONE]
    if not left:
        return 0
    waiting = sum(states[directory] is State.WAITING for directory in left)
    not_begun = f", {waiting} of them not begun here" if waiting else ""
    print(
        f"{len(left)} of {len(tasks)} are not done{not_begun}; the same command continues",
        file=sys.stderr,
    )
    if request.is_made():
        return request.status
    return 143 if time.monotonic() >= end.stop else 1


def show_costs() -> None:
    """Prints the paper's analysis of costs (Section 4.6), from experiments.costs."""
    from experiments.cli import cost_report

    (task,) = FIGURES["costs"].tasks
    rows = cost_report.compare()
    of_task = [row for row in rows if row["env"].lower().startswith(task)]
    print(cost_report.show_table([row for row in of_task if "td3" in row["algo"]], "text"))
