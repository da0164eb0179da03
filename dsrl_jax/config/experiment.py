"""An experiment: every choice that decides what a run computes."""

import dataclasses
from collections.abc import Mapping

from dsrl_jax.config.agents import AgentConfig
from dsrl_jax.config.loop import BraxConfig, LoopConfig, count_updates
from dsrl_jax.config.settings import override


@dataclasses.dataclass(frozen=True)
class InitialPolicy:
    """A trained policy that acts in the first `start_steps` steps, in place of random actions.

    Section 4.6, Figure 3. Two of them are equal if their content is, wherever they were read.

    env_step: length of its training in environment steps
    sha256: digest of its parameters
    """

    algo: str
    preset: str
    seed: int
    env_step: int
    sha256: str
    directory: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Every choice that decides what a run computes.

    env: the back-end's id of the environment
    seeds: one for each member; members that differ in `varied` may share a seed
    brax: settings of the back-end brax; None for other back-ends
    initial_policy: see `training.initial_policy`
    changes: notes for the user about settings that were rounded
    varied: the agent's settings in which members differ, with one value for each member; `agent`
      has the first member's
    freeze_nonfinite: whether a member with non-finite numbers is frozen while the others continue;
      else it ends the run
    """

    env: str
    env_preset: str
    backend: str
    algo: str
    preset: str
    seeds: tuple[int, ...]
    agent: AgentConfig
    loop: LoopConfig
    brax: BraxConfig | None = None
    initial_policy: InitialPolicy | None = None
    changes: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    varied: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    freeze_nonfinite: bool = False

    def updates_at(self, env_step: int) -> int:
        """Returns the number of updates after `env_step` environment steps."""
        return count_updates(self.loop, self.brax, env_step)

    @property
    def is_numbered(self) -> bool:
        """Whether rows have a column with the member's number, as seeds do not identify members."""
        return bool(self.varied) or self.freeze_nonfinite

    def agent_of(self, member: int) -> AgentConfig:
        """Returns the agent's settings of one member."""
        return override(self.agent, {name: values[member] for name, values in self.varied.items()})
