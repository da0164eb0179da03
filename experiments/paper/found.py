"""The runs that there are, in run directories and collected, told by their config.json alone."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import ALGORITHMS, Experiment, resolve
from dsrl_jax.config.to_json import describe
from dsrl_jax.training.checkpoints.checksums import RECORD
from experiments.run_dir.directory import MAY_CHANGE, describe_whole, with_defaults
from experiments.run_dir.state import (
    FILES,
    checkpoints_of,
    evaluated_step,
    has_lost_its_checkpoints,
    read_rows,
    read_starts,
)

# In the name of a directory whose policy others start from: continued, it would be another one.
OF_POLICY = "-policy-"

# And of one that starts from such a policy, whose length follows: a run that has begun with the
# samples of a policy cannot go on with another's.
FROM_POLICY = "-from-"

# What a run is found by is everything else.
_NOT_COMPARED = ("seeds", *MAY_CHANGE)


class Found(NamedTuple):
    """A run that there is."""

    directory: Path
    config: dict[str, Any]
    reached: int  # the step up to which nothing is lost
    is_collected: bool  # it has its evaluations alone, and cannot be continued

    @property
    def seeds(self) -> tuple[int, ...]:
        """Its members'."""
        return tuple(self.config["seeds"])

    @property
    def may_continue(self) -> bool:
        """Whether it can become longer: as `experiments.paper` alone would continue it."""
        name = self.directory.name
        if self.is_collected or self.config.get("format") != FORMAT or OF_POLICY in name:
            return False
        if self.config.get("initial_policy") and FROM_POLICY not in name:
            return False
        return self.reached == 0 or checkpoints_of(self.directory).exists()


def find_runs(runs: Path, results: Path) -> list[Found]:
    """All runs in run directories under `runs` and collected ones under `results`.

    What is no run, or has a damaged config.json, is left out.

    Raises:
      ValueError: if the evaluations are damaged that would tell how far a run is.
    """
    here = [_read(path.parent, False) for path in sorted(runs.glob("*/config.json"))]
    return [*(found for found in here if found), *find_collected(results)]


def find_collected(results: Path) -> list[Found]:
    """All runs under `results`."""
    there = [_read(path.parent, True) for path in sorted(results.glob("*/*/config.json"))]
    return [found for found in there if found]


def is_of(found: Found, experiment: Experiment) -> bool:
    """Whether a run computes what an experiment means, whatever its seeds and length.

    A trained policy to start from is told by its method, seed and length: on another machine its
    content is another one.
    """
    named, held = describe_whole(experiment), found.config
    if any(held[name] != named[name] for name in ("env", "algo", "preset")):
        return False  # The others are known of this method's settings alone.
    there = with_defaults(held, experiment)
    return all(
        _comparable(there[name]) == _comparable(value)
        for name, value in named.items()
        if name not in _NOT_COMPARED
    )


def best_of(found: Iterable[Found], experiment: Experiment, steps: int) -> Found | None:
    """The run of an experiment's seed that is done or can be continued, and has come furthest.

    One that may not become longer counts if it has `steps`.
    """
    (seed,) = experiment.seeds
    fitting = [
        run
        for run in found
        if seed in run.seeds
        and (run.reached >= steps or run.may_continue)
        and is_of(run, experiment)
    ]
    return max(fitting, key=lambda run: run.reached, default=None)


class Interval(NamedTuple):
    """From one evaluation to the next, by one process."""

    first: int
    last: int
    seconds: float


def read_intervals(directory: Path) -> list[Interval]:
    """What timings.csv tells of a run; the time between two processes is nobody's."""
    try:
        rows = read_rows(directory / FILES["timing"])
        told = [(int(row["env_step"]), float(row["seconds"])) for row in rows]
        starts = [int(start["env_step"]) for start in read_starts(directory)]
    except (OSError, KeyError, ValueError):  # What nobody measured, or is damaged, is no rate.
        return []
    return [
        Interval(first, last, then - before)
        for (first, before), (last, then) in zip(told, told[1:], strict=False)
        if first < last and before < then and not any(first <= step < last for step in starts)
    ]


def measure_rates(found: Iterable[Found]) -> dict[tuple[str, str], float]:
    """Steps a second, updates included, by environment and algorithm.

    Over all runs here whose networks and batches are the paper's: others are no measure of it.
    """
    steps: dict[tuple[str, str], int] = defaultdict(int)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for run in filter(_has_the_papers_sizes, found):
        for interval in read_intervals(run.directory):
            if interval.first >= steps_before_updates(run.config):
                kind = (run.config["env"], run.config["algo"])
                steps[kind] += interval.last - interval.first
                seconds[kind] += interval.seconds
    return {kind: steps[kind] / seconds[kind] for kind in steps}


def _has_the_papers_sizes(run: Found) -> bool:
    env, algo = run.config["env"], run.config["algo"]
    if algo not in ALGORITHMS:
        return False
    usual = describe(resolve(env, algo))
    return all(run.config.get(name) == usual[name] for name in ("hidden_sizes", "batch_size"))


def steps_before_updates(config: dict[str, Any]) -> int:
    """Those of a config.json, after which a run has the speed that it keeps."""
    update_after = config.get("update_after")
    return config.get("start_steps", 0) if update_after is None else update_after


def reached_step(directory: Path, seeds: tuple[int, ...], steps: int) -> int:
    """The step up to which nothing of a run of `steps` is lost, whatever happens to it.

    That of its last checkpoint. A whole run may have lost those: its evaluations tell it then.

    Raises:
      ValueError: if these are damaged.
    """
    if has_lost_its_checkpoints(directory, seeds, steps):
        return evaluated_step(directory, seeds)
    saved = [path.parent.name for path in checkpoints_of(directory).glob(f"*/{RECORD}")]
    return max((int(name) for name in saved if name.isdecimal()), default=0)


def _read(directory: Path, is_collected: bool) -> Found | None:
    try:
        config = json.loads((directory / "config.json").read_text())
        seeds = tuple(int(seed) for seed in config["seeds"])
        named = [config[name] for name in ("env", "algo", "preset")]
        steps = int(config["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not seeds or not all(isinstance(name, str) for name in named):
        return None
    if is_collected:
        reached = evaluated_step(directory, seeds)
    else:
        reached = reached_step(directory, seeds, steps)
    return Found(directory, config, reached, is_collected)


def _comparable(value: Any) -> Any:
    return {**value, "sha256": ""} if isinstance(value, dict) else value
