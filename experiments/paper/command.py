"""Computes the paper's figures and tables: python -m experiments.paper fig2a --seeds=0:5.

Names of figures (see --list) compute what is missing of them, several runs at once. Stopped runs
continue; finished and collected runs are skipped. Each run is a process of experiments.run with its
own run directory, so the same command continues after any end. `costs` prints its table.

    python -m experiments.paper --list
    python -m experiments.paper fig2a --seeds=0:5
    python -m experiments.paper fig1 --envs=halfcheetah,hopper --algos=td3,ds_td3 --steps=300000
    python -m experiments.paper collect runs/*-s0*

`collect` copies the settings and evaluations of finished runs to a folder that can be committed.

Exit status: 0 if all runs are done, 1 if a run failed or is in use by another process, 2 for a bad
command line, 143 or 130 if --time_limit, SIGTERM or Ctrl-C stopped the runs.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import ALGORITHMS, check_choice
from dsrl_jax.config.settings import settings_of
from experiments.cli.command import StopRequest, ends_on_interrupt
from experiments.cli.flags import describe, help_text, parse
from experiments.cli.machine import PLATFORMS, cores
from experiments.cli.values import UsageError, parse_seeds, parse_value
from experiments.paper.collect import collect
from experiments.paper.existing_runs import existing_runs
from experiments.paper.figures import FIGURES, GROUPS, SEEDS, TASKS
from experiments.paper.pool import Outcome, make_limits, run_tasks
from experiments.paper.rates import measure_rates
from experiments.paper.required_runs import Selection, required_runs, select_figures
from experiments.paper.status import StatusLine, list_figures
from experiments.paper.tasks import Machine, Match, Task, match_runs, missing_tasks

# Brax has other dynamics and rewards: its returns cannot be compared with the paper's.
BACKENDS = ("gymnasium", "envpool")
# Flags that `costs` accepts.
_FLAGS_OF_COSTS = ("list", "runs", "results")


def make_flags() -> flags.FlagValues:
    """All flags, unparsed."""
    values = flags.FlagValues()
    add: Any = {"flag_values": values, "module_name": "the paper"}
    flags.DEFINE_bool("list", False, "print the state of each figure's runs, and stop", **add)
    flags.DEFINE_string("envs", None, "tasks; default: all of a figure", **add)
    flags.DEFINE_string("algos", None, "methods; default: all of a figure", **add)
    flags.DEFINE_string("seed", None, "a single seed", **add)
    flags.DEFINE_string("seeds", None, "0:5 or 1,2,7; default: 0:5", **add)
    flags.DEFINE_string("env_preset", "v5", "the tasks' version; v3: nearest to the paper's", **add)
    flags.DEFINE_string("backend", "gymnasium", ", ".join(BACKENDS), **add)
    add["module_name"] = "this machine"
    flags.DEFINE_string("jobs", None, "runs at once; default: cores by threads, 1 on a GPU", **add)
    flags.DEFINE_string("time_limit", None, "save and stop all runs within these seconds", **add)
    flags.DEFINE_string("device", "cpu", "cpu, gpu or tpu", **add)
    flags.DEFINE_bool(
        "together",
        None,
        "train new seeds of a variant in one program; default: not on a CPU",
        **add,
    )
    flags.DEFINE_string("threads", None, "CPU threads of each run; default: 1 on a CPU", **add)
    flags.DEFINE_bool("deterministic", False, "on a GPU: resume exactly; slower", **add)
    flags.DEFINE_string("runs", "runs", "the folder of the run directories; default: runs", **add)
    flags.DEFINE_string(
        "results", "results", "the folder of collected runs; default: results", **add
    )
    flags.DEFINE_bool("help", False, "print this and stop", short_name="h", **add)
    add["module_name"] = "each run, in place of the paper's"
    for field in settings_of(LoopConfig):
        flags.DEFINE_string(field.name, None, describe(field), **add)
    return values


class Plan(NamedTuple):
    """A checked command line."""

    figures: tuple[str, ...]
    selection: Selection
    machine: Machine
    jobs: int
    time_limit: float | None
    results: Path


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status."""
    begun = time.monotonic()
    values = make_flags()
    with ends_on_interrupt():
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
            required = required_runs(plan.figures, plan.selection)
            existing = existing_runs(plan.machine.runs, plan.results)
        except BrokenPipeError:  # The reader has gone: `command.start` ends the process.
            raise
        except (OSError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        matches, rates = match_runs(required, existing), measure_rates(existing)
        if values.list:
            print(list_figures(plan.figures, matches, existing, plan.machine, rates, plan.jobs))
            return 0
        tasks = missing_tasks(matches, existing, plan.machine)
        status = StatusLine(tasks, plan.jobs, rates, sys.stdout)
        return run(plan, matches, tasks, status, begun)


def run(
    plan: Plan, matches: Sequence[Match], tasks: Sequence[Task], status: StatusLine, begun: float
) -> int:
    """Computes what is missing; returns the exit status."""
    if "costs" in plan.figures:
        show_costs()
    if matches:
        figures = {match.required.figure for match in matches}
        for name in sorted(set(plan.figures) - figures - {"costs"}):
            print(f"{name}: none of its runs was chosen")
        done = sum(match.is_done for match in matches)
        print(f"{done} of {len(matches)} runs are done; to compute: {len(tasks)}", flush=True)
    if not tasks:
        return 0
    try:
        return compute(tasks, plan, status, begun)
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"error: {error}; fix it and repeat the command to continue", file=sys.stderr)
        return 1


def prepare(values: flags.FlagValues, names: list[str]) -> Plan:
    """Checks a command line.

    Raises:
      ValueError: says what was given and what is allowed.
    """
    if not names and not values.list:
        every = ", ".join([*FIGURES, *GROUPS])
        raise UsageError(f"name what to run, one of {every}, or collect; --list explains them")
    figures = select_figures(names or ["all"])
    unused = [name for name in values if values[name].present and name not in _FLAGS_OF_COSTS]
    if figures == ("costs",) and unused:
        raise UsageError(
            f"costs prints the paper's analysis and takes no --{unused[0]}; "
            "python -m experiments.costs counts others"
        )
    for name in ("runs", "results"):  # A missing folder of runs is made.
        path = Path(str(values[name].value))
        if path.exists() and not path.is_dir():
            raise UsageError(f"--{name} must be a folder, got the file {path}")
        if name == "results" and values[name].present and not path.exists():
            raise UsageError(f"--results must be an existing folder, got {path}")
    limit = _positive(values, "time_limit", float, None)
    machine, jobs = _prepare_machine(values)
    return Plan(figures, _select(values), machine, jobs, limit, Path(values.results))


def _prepare_machine(values: flags.FlagValues) -> tuple[Machine, int]:
    """Returns how to compute runs, and how many at once."""
    check_choice("--device", values.device, PLATFORMS)
    is_cpu = values.device == "cpu"
    threads = _positive(values, "threads", int, 1 if is_cpu else None)
    jobs = _positive(values, "jobs", int, max(1, cores() // threads) if is_cpu else 1)
    given = {} if is_cpu else {"device": values.device}
    given |= {"threads": str(threads)} if threads else {}
    given |= {"deterministic": "true"} if values.deterministic else {}
    together = not is_cpu if values.together is None else values.together
    run_flags = tuple(f"--{name}={value}" for name, value in given.items())
    return Machine(Path(values.runs), run_flags, together), jobs


def _select(values: flags.FlagValues) -> Selection:
    check_choice("--backend", values.backend, BACKENDS)
    settings = {
        field.name: parse_value(field.name, field.type, str(values[field.name].value))
        for field in settings_of(LoopConfig)
        if values[field.name].present
    }
    has_seeds = values["seed"].present or values["seeds"].present
    return Selection(
        tuple(values.envs.split(",")) if values.envs else TASKS,
        tuple(values.algos.split(",")) if values.algos else tuple(ALGORITHMS),
        parse_seeds(values) if has_seeds else SEEDS,
        values.env_preset,
        values.backend,
        settings,
    )


def _positive(values: flags.FlagValues, name: str, kind: type, default: Any) -> Any:
    text = values[name].value
    if not text:
        return default
    number = parse_value(name, kind, text)
    if not 0 < number < float("inf"):
        raise UsageError(f"--{name} must be positive, got {text}")
    return number


def compute(tasks: Sequence[Task], plan: Plan, status: StatusLine, begun: float) -> int:
    """Runs tasks until they are done or stopped; returns the exit status."""
    limits = make_limits(begun, plan.time_limit)
    with StopRequest() as request:
        outcomes = run_tasks(
            tasks,
            plan.jobs,
            limits=limits,
            is_stop_requested=request.is_made,
            show=status.show,
        )
    left = len(tasks) - sum(outcome is Outcome.DONE for outcome in outcomes.values())
    if not left:
        return 0
    waiting = len(tasks) - len(outcomes)
    not_begun = f", {waiting} of them not begun here" if waiting else ""
    print(
        f"{left} of {len(tasks)} are not done{not_begun}; the same command continues",
        file=sys.stderr,
    )
    if request.is_made():
        return request.status
    return 143 if time.monotonic() >= limits.stop else 1


def show_costs() -> None:
    """Prints the paper's analysis of costs (Section 4.6)."""
    from experiments.cli import cost_report

    (task,) = FIGURES["costs"].tasks
    rows = [row for row in cost_report.compare() if row["env"].lower().startswith(task)]
    print(cost_report.show_table([row for row in rows if "td3" in row["algo"]], "text"))
