"""The paper's numbers by task and preset, and resolves names to an experiment.

Every number of the paper that depends on the task, the algorithm or the preset is listed here with
its source. The others are the defaults of their settings.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dsrl_jax.config.agents import ALGORITHMS, NOT_A_SETTING, AgentConfig, SACConfig, TD3Config
from dsrl_jax.config.checks import check_combination, check_names, has_setting, validate
from dsrl_jax.config.experiment import Experiment, InitialPolicy
from dsrl_jax.config.loop import BraxConfig, LoopConfig, count_updates, round_up
from dsrl_jax.config.settings import check_choice, check_limits, check_seeds, override
from dsrl_jax.config.tasks import PAPER_NAMES, task_of

__all__ = [
    "ALGORITHMS",
    "LAMBDAS",
    "NOT_A_SETTING",
    "OFFICIAL",
    "OFFICIAL_LAST_ADAPTATION",
    "PRESETS",
    "START_STEPS",
    "Experiment",
    "InitialPolicy",
    "check_choice",
    "has_setting",
    "resolve",
]

PRESETS = ("paper", "official", "figure1")

# λ1 and λ2 by task. Section 4.4: "the same sparsity levels are used for Static-TD3"; Table 3.
# Other tasks have HalfCheetah's.
LAMBDAS = {
    TD3Config: {
        "HalfCheetah": (7.0, 64.0),
        "Walker2d": (7.0, 64.0),
        "Hopper": (7.0, 64.0),
        "Ant": (40.0, 64.0),
        "Humanoid": (61.0, 64.0),
    },
    SACConfig: {
        "HalfCheetah": (12.0, 80.0),
        "Walker2d": (12.0, 80.0),
        "Hopper": (7.0, 20.0),
        "Ant": (30.0, 64.0),
        "Humanoid": (61.0, 64.0),
    },
}

# Section 4.4 for TD3. SAC follows the code that Section 4.4 names: updates begin after one batch,
# during the random steps.
START_STEPS = {TD3Config: 25_000, SACConfig: 10_000}

# SAC as in Figure 1, Section 4.4: soft updates of the targets.
FIGURE_1: dict[str, Any] = {"tau": 0.005, "target_period": 1}

# The authors' published code where it differs from the paper's text.
OFFICIAL: dict[str, Any] = {
    "adaptation_offset": 2,
    "drop_rule": "per_sign",
    "grow_rule": "empty_after_drop",
    "grown_weight": "stepped",
    "moments": "dense",
    "target_ties": "strict",
}
# The authors' last change of topology comes this many updates before the end of training.
OFFICIAL_LAST_ADAPTATION = 50_000


def resolve(
    env_id: str,
    algo: str,
    *,
    preset: str = "paper",
    env_preset: str = "v5",
    backend: str = "gymnasium",
    seeds: int | Iterable[int] = (0,),
    settings: Mapping[str, Any] | None = None,
) -> Experiment:
    """Resolves names to an experiment; `settings` override the preset's numbers.

    Args:
      env_id, env_preset, backend: an existing environment, see `envs.catalog`.
      settings: settings of the algorithm's agent (`TD3Config`, `SACConfig`), of `LoopConfig`, and
        with the back-end brax of `BraxConfig`.
    Raises:
      ValueError: names the unknown name or the value that is not allowed, and the allowed ones.
    """
    check_choice("algo", algo, ALGORITHMS)
    check_choice("preset", preset, PRESETS)
    seeds = (seeds,) if isinstance(seeds, int) else tuple(seeds)
    check_seeds(seeds)
    config, topology = ALGORITHMS[algo]
    if preset == "figure1" and config is not SACConfig:
        raise ValueError(f"preset figure1 needs sac, static_sac or ds_sac, got algo {algo!r}")
    given = dict(settings or {})
    check_names(given, algo, env_preset, backend)
    check_limits(override(config(), given))
    check_combination(given, algo)

    loop, brax, changes = _resolve_loop(config, backend, given)
    task = PAPER_NAMES.get(env_id, "") if brax else task_of(env_id)
    lambda1, lambda2 = LAMBDAS[config].get(task, LAMBDAS[config]["HalfCheetah"])
    numbers: dict[str, Any] = {"topology": topology, "lambda1": lambda1, "lambda2": lambda2}
    if preset == "figure1":
        numbers |= FIGURE_1
    elif preset == "official":
        last = count_updates(loop, brax, loop.steps) - OFFICIAL_LAST_ADAPTATION
        numbers |= OFFICIAL | {"last_adaptation": last if last > 0 else None}
    agent = override(config(), numbers | given)
    validate(agent)
    names = (env_id, env_preset, backend, algo, preset)
    return Experiment(*names, seeds, agent, loop, brax, changes=changes)


def _resolve_loop(
    config: type[AgentConfig], backend: str, given: dict[str, Any]
) -> tuple[LoopConfig, BraxConfig | None, tuple[str, ...]]:
    """Returns the loop's settings, the back-end brax's, and a note if brax rounds steps up."""
    numbers = {"start_steps": START_STEPS[config]} | given
    if config is SACConfig:
        numbers = {"update_after": numbers.get("batch_size", SACConfig.batch_size)} | numbers
    loop = override(LoopConfig(), numbers)
    check_limits(loop)
    if backend != "brax":
        return loop, None, ()
    brax = override(BraxConfig(), given)
    check_limits(brax)
    brax = override(brax, {"updates_per_step": brax.updates})
    loop, changes = round_up(loop, brax.num_envs)
    return loop, brax, changes
