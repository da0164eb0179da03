"""Settings of a training loop. Needs no JAX."""

import dataclasses

from dsrl_jax.settings import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OPTIONAL_NOT_NEGATIVE,
    check_limits,
    setting,
)

SECTION = "paper, Section 4.4"

# Version of what a run directory holds: its names, columns, records and checkpoints.
FORMAT = 1


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
        before = self.start_steps if self.update_after is None else self.update_after
        return max(env_step - before, 0)


def validate(config: LoopConfig) -> None:
    """Checks a config once. Raises ValueError: the setting, what is allowed, what it got."""
    check_limits(config)
