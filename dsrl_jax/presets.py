"""What a run is, resolved: environment, algorithm, the paper's numbers, and own settings over them.

Every number of the paper that depends on the task or the algorithm stands here, with its source.
Needs no JAX.
"""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from dsrl_jax.agents import config as agent_config
from dsrl_jax.agents.config import TD3Config
from dsrl_jax.training import config as loop_config
from dsrl_jax.training.config import LoopConfig

# The three methods are one agent; Section 4.1.
TOPOLOGIES = {"td3": "dense", "static_td3": "static", "ds_td3": "dynamic"}

# λ1 of the first hidden layer by task, Section 4.4; λ2 is 64 for all. "The same sparsity levels
# are used for Static-TD3."
LAMBDA1 = {"HalfCheetah": 7.0, "Hopper": 7.0, "Walker2d": 7.0, "Ant": 40.0, "Humanoid": 61.0}

# What the authors' published code does where it differs from the paper's text.
OFFICIAL = {
    "adaptation_offset": 2,
    "drop_rule": "per_sign",
    "grow_rule": "empty_after_drop",
    "grown_weight": "stepped",
    "moments": "dense",
    "target_ties": "strict",
}
# The authors' last change of topology comes this many updates before the end of training.
OFFICIAL_LAST_ADAPTATION = 50_000

PRESETS = ("paper", "official")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides what a run computes."""

    env: str  # a Gymnasium id
    algo: str
    preset: str
    seeds: tuple[int, ...]
    agent: TD3Config
    loop: LoopConfig


def resolve(
    env_id: str,
    algo: str,
    *,
    preset: str = "paper",
    seeds: Iterable[int] = (0,),
    settings: Mapping[str, Any] | None = None,
) -> Experiment:
    """The experiment that a few words mean; settings given by name win over the presets.

    Args:
      env_id: a Gymnasium id that exists.
      settings: fields of `TD3Config` and `LoopConfig`.
    Raises:
      ValueError: if a name or a value is unknown or not allowed; names what is.
    """
    check_choice("algo", algo, TOPOLOGIES)
    check_choice("preset", preset, PRESETS)
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**31:
        raise ValueError(f"seeds must be different whole numbers from 0, got {seeds}")
    given = dict(settings or {})
    names: dict[str, type] = {field.name: LoopConfig for field in dataclasses.fields(LoopConfig)}
    names |= {field.name: TD3Config for field in dataclasses.fields(TD3Config)}
    for name in given:
        check_choice("setting", name, [known for known in names if known != "topology"])

    loop = LoopConfig(**{name: given[name] for name in given if names[name] is LoopConfig})
    loop_config.validate(loop)
    task = env_id.split("-")[0]
    numbers: dict[str, Any] = {"topology": TOPOLOGIES[algo], "lambda1": LAMBDA1.get(task, 7.0)}
    if preset == "official":
        numbers |= OFFICIAL
        last = loop.steps - loop.start_steps - OFFICIAL_LAST_ADAPTATION
        numbers["last_adaptation"] = last if last > 0 else None
    numbers |= {name: given[name] for name in given if names[name] is TD3Config}
    agent = TD3Config(**numbers)
    agent_config.validate(agent)
    return Experiment(env_id, algo, preset, seeds, agent, loop)


def check_choice(what: str, name: str, choices: Iterable[str]) -> None:
    """Raises ValueError, naming the near ones, unless `name` is one of the choices."""
    choices = list(choices)
    if name not in choices:
        near = difflib.get_close_matches(str(name), choices, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{what} must be one of {', '.join(choices)}, got {name!r}{hint}")
