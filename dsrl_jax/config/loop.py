"""Settings of a training loop, and of environments on the device. Needs no JAX."""

import dataclasses

from dsrl_jax.config.settings import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OPTIONAL_COUNT,
    OPTIONAL_NOT_NEGATIVE,
    check_limits,
    one_of,
    setting,
)

SECTION = "paper, Section 4.4"

# Version of what a run directory holds: its names, columns, records and checkpoints.
FORMAT = 1

# Simulators of Brax; the default of its own environments is the first.
BRAX_BACKENDS = ("generalized", "mjx", "positional", "spring")

# Settings in steps, which a loop that takes several steps at once counts in those.
IN_STEPS = (
    "steps",
    "start_steps",
    "update_after",
    "replay_size",
    "eval_period",
    "checkpoint_period",
    "log_period",
)


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long to train, when to evaluate and to save; one update per environment step."""

    steps: int = setting(
        1_000_000,
        "length of training",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    start_steps: int = setting(
        25_000,
        "uniformly random actions",
        unit="environment steps",
        limit=NOT_NEGATIVE,
        source=SECTION + "; for SAC the code that the paper names",
    )
    update_after: int | None = setting(
        None,
        "before updates begin; none: start_steps for TD3, batch_size for SAC",
        unit="environment steps",
        limit=OPTIONAL_NOT_NEGATIVE,
        source="authors' code; for SAC the code that the paper names",
    )
    replay_size: int = setting(
        1_000_000,
        "the oldest transitions beyond it are forgotten; default: the whole history",
        unit="transitions",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    eval_period: int = setting(
        5_000,
        "between two evaluations; there is one at step 0",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    eval_episodes: int = setting(
        10,
        "in an evaluation, without noise",
        unit="episodes",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    checkpoint_period: int = setting(
        5_000,
        "between two checkpoints, from which a run that was stopped continues",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source="this project",
    )
    log_period: int = setting(
        1_000,
        "between two rows of training.csv",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source="this project",
    )

    def updates_at(self, env_step: int) -> int:
        """Updates made when this many steps are done."""
        return max(env_step - self.steps_before_updates, 0)

    @property
    def steps_before_updates(self) -> int:
        """Environment steps before the first update's."""
        return self.start_steps if self.update_after is None else self.update_after


@dataclasses.dataclass(frozen=True)
class BraxConfig:
    """Environments on the device; each member steps all of its own at once, a vector step."""

    brax_backend: str = setting(
        "generalized",
        "the simulator",
        limit=one_of(*BRAX_BACKENDS),
        source="Brax's default",
    )
    num_envs: int = setting(
        1,
        "of each member, stepped at once; several are faster on a GPU. Settings in environment "
        "steps are rounded up to multiples of it",
        unit="environments",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    updates_per_step: int | None = setting(
        None,
        "after each step of all environments; none: num_envs, one for each transition",
        unit="updates",
        limit=OPTIONAL_COUNT,
        source=SECTION,
    )
    episode_length: int = setting(
        1_000,
        "time limit of an episode, a truncation",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source="Brax's default",
    )

    @property
    def updates(self) -> int:
        """Updates after each vector step."""
        return self.num_envs if self.updates_per_step is None else self.updates_per_step


def validate(config: LoopConfig | BraxConfig) -> None:
    """Checks a config once. Raises ValueError: the setting, what is allowed, what it got."""
    check_limits(config)


def count_updates(loop: LoopConfig, brax: BraxConfig | None, env_step: int) -> int:
    """Updates made when this many steps are done; on Brax a whole number of vector steps."""
    trained = loop.updates_at(env_step)
    return brax.updates * (trained // brax.num_envs) if brax else trained


def round_up(loop: LoopConfig, num_envs: int) -> tuple[LoopConfig, tuple[str, ...]]:
    """The settings in steps as multiples of `num_envs`, and what was changed, in a line or none."""
    given = {name: getattr(loop, name) for name in IN_STEPS}
    rounded = {
        name: -(-value // num_envs) * num_envs for name, value in given.items() if value is not None
    }
    changed = [f"{name} {value:,}" for name, value in rounded.items() if value != given[name]]
    told = f"rounded up to multiples of num_envs {num_envs}: {', '.join(changed)}"
    return dataclasses.replace(loop, **rounded), (told,) if changed else ()
