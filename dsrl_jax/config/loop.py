"""Settings of the training loop, and of environments on the device."""

import dataclasses

from dsrl_jax.config.settings import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OPTIONAL_COUNT,
    OPTIONAL_NOT_NEGATIVE,
    one_of,
    setting,
)

SECTION = "paper, Section 4.4"

# Version of a run directory's format: its file names, columns, records and checkpoints.
FORMAT = 1

# Brax's simulators; Brax's own environments use the first by default.
BRAX_BACKENDS = ("generalized", "mjx", "positional", "spring")

# Settings in steps. A loop that takes `num_envs` steps at once rounds them up to multiples of it.
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
    """Length of training, and when to evaluate and save; one update for each environment step."""

    steps: int = setting(
        1_000_000,
        "length of training",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    start_steps: int = setting(
        25_000,
        "number of uniformly random actions at the start of training",
        unit="environment steps",
        limit=NOT_NEGATIVE,
        source=SECTION + "; for SAC the code that the paper names",
    )
    update_after: int | None = setting(
        None,
        "number of steps before the first update; none: start_steps for TD3, batch_size for SAC",
        unit="environment steps",
        limit=OPTIONAL_NOT_NEGATIVE,
        source="authors' code; for SAC the code that the paper names",
    )
    replay_size: int = setting(
        1_000_000,
        "size of the replay buffer, which overwrites its oldest transitions when it is full; the "
        "default stores all of a run",
        unit="transitions",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    eval_period: int = setting(
        5_000,
        "interval between evaluations; the first one is at step 0",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    eval_episodes: int = setting(
        10,
        "number of episodes in an evaluation, without exploration noise",
        unit="episodes",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    checkpoint_period: int = setting(
        5_000,
        "interval between checkpoints, from which an interrupted run continues",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source="this project",
    )
    log_period: int = setting(
        1_000,
        "interval between rows of training.csv",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source="this project",
    )

    def updates_at(self, env_step: int) -> int:
        """Returns the number of updates after `env_step` environment steps."""
        return max(env_step - self.steps_before_updates, 0)

    @property
    def steps_before_updates(self) -> int:
        """Number of environment steps before the first update."""
        return self.start_steps if self.update_after is None else self.update_after


@dataclasses.dataclass(frozen=True)
class BraxConfig:
    """Environments on the device; a member steps all its environments at once, a vector step."""

    brax_backend: str = setting(
        "generalized",
        "Brax's physics simulator",
        limit=one_of(*BRAX_BACKENDS),
        source="Brax's default",
    )
    num_envs: int = setting(
        1,
        "number of environments of each member, stepped in parallel; a GPU is faster with several. "
        "Settings in environment steps are rounded up to multiples of it",
        unit="environments",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    updates_per_step: int | None = setting(
        None,
        "number of updates after each parallel step; none: num_envs, one for each transition",
        unit="updates",
        limit=OPTIONAL_COUNT,
        source=SECTION,
    )
    episode_length: int = setting(
        1_000,
        "time limit of an episode; reaching it truncates the episode",
        unit="environment steps",
        limit=AT_LEAST_ONE,
        source="Brax's default",
    )

    @property
    def updates(self) -> int:
        """Number of updates after each vector step."""
        return self.num_envs if self.updates_per_step is None else self.updates_per_step


def count_updates(loop: LoopConfig, brax: BraxConfig | None, env_step: int) -> int:
    """Returns the number of updates after `env_step` steps, on Brax of whole vector steps."""
    trained = loop.updates_at(env_step)
    return brax.updates * (trained // brax.num_envs) if brax else trained


def round_up(loop: LoopConfig, num_envs: int) -> tuple[LoopConfig, tuple[str, ...]]:
    """Rounds the settings in steps up to multiples of `num_envs`.

    Returns:
      The rounded settings, and a note for the user if one of them changed.
    """
    given = {name: getattr(loop, name) for name in IN_STEPS}
    rounded = {
        name: -(-value // num_envs) * num_envs for name, value in given.items() if value is not None
    }
    changed = [f"{name} {value:,}" for name, value in rounded.items() if value != given[name]]
    note = f"rounded up to multiples of num_envs {num_envs}: {', '.join(changed)}"
    return dataclasses.replace(loop, **rounded), (note,) if changed else ()
