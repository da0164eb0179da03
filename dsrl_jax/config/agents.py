"""Settings of the agents, and the algorithms by name.

Floats may be traced and may differ between the members of one compiled program; the other settings
are static. `agents/types.py` registers the classes as trees. The defaults are the paper's for
HalfCheetah; `presets.py` has the numbers that depend on the task.
"""

import dataclasses
from typing import ClassVar, NamedTuple

from dsrl_jax.config.settings import (
    AT_LEAST_ONE,
    FRACTION,
    NOT_NEGATIVE,
    OPTIONAL_FINITE,
    POSITIVE,
    POSITIVE_SIZES,
    YES_OR_NO,
    setting,
)
from dsrl_jax.config.sparsity import SECTION, SparseConfig

APPENDIX = "paper, Appendix A"

# Help texts of settings that both agents have.
HIDDEN_SIZES = "number of neurons in each hidden layer of actor and critics"
LEARNING_RATE = "Adam's step size for actor and critics"
WEIGHT_DECAY = "coefficient of the L2 penalty, added to the gradients of weights and biases"
BATCH_SIZE = "size of a batch, sampled uniformly from the replay buffer"
DISCOUNT = "gamma, discount factor"


@dataclasses.dataclass(frozen=True)
class TD3Config:
    """TD3, Static-TD3 and DS-TD3 (Section 4.4)."""

    ACTOR_HEADS: ClassVar = ("output",)

    hidden_sizes: tuple[int, ...] = setting(
        (256, 256), HIDDEN_SIZES, limit=POSITIVE_SIZES, source=SECTION
    )
    learning_rate: float = setting(1e-3, LEARNING_RATE, limit=NOT_NEGATIVE, source=SECTION)
    weight_decay: float = setting(
        2e-4,
        WEIGHT_DECAY,
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    batch_size: int = setting(
        100, BATCH_SIZE, unit="transitions", limit=AT_LEAST_ONE, source=SECTION
    )
    discount: float = setting(0.99, DISCOUNT, limit=FRACTION, source="TD3, Fujimoto et al. 2018")
    tau: float = setting(
        0.005,
        "Polyak coefficient: share of the online network in an update of its target",
        limit=FRACTION,
        source=SECTION,
    )
    policy_delay: int = setting(
        2,
        "d, actor and targets are updated once every d critic updates",
        unit="updates",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    exploration_noise: float = setting(
        0.1,
        "standard deviation of the Gaussian noise added to actions during training",
        unit="half ranges of the action",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    target_noise: float = setting(
        0.2,
        "standard deviation of the Gaussian noise added to target actions",
        unit="half ranges of the action",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    target_noise_clip: float = setting(
        0.5,
        "c, bound on the absolute value of target_noise",
        unit="half ranges of the action",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    sparse: SparseConfig = SparseConfig()

    @property
    def target_period(self) -> int:
        """Number of critic updates per update of the targets, the same as for the actor."""
        return self.policy_delay


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """SAC, Static-SAC and DS-SAC (Appendix A, which copies the critics to their targets)."""

    ACTOR_HEADS: ClassVar = ("mean", "log_std")
    policy_delay: ClassVar[int] = 1  # The actor is trained at every update (Algorithm 4, line 17).

    hidden_sizes: tuple[int, ...] = setting(
        (256, 256), HIDDEN_SIZES, limit=POSITIVE_SIZES, source=APPENDIX
    )
    learning_rate: float = setting(3e-4, LEARNING_RATE, limit=NOT_NEGATIVE, source=APPENDIX)
    weight_decay: float = setting(
        0.0,
        WEIGHT_DECAY,
        limit=NOT_NEGATIVE,
        source="SAC, Haarnoja et al. 2018",
    )
    batch_size: int = setting(
        256, BATCH_SIZE, unit="transitions", limit=AT_LEAST_ONE, source=APPENDIX
    )
    discount: float = setting(0.99, DISCOUNT, limit=FRACTION, source="SAC, Haarnoja et al. 2018")
    tau: float = setting(
        1.0,
        "Polyak coefficient: share of the online critics in an update of their targets; 1 copies "
        "them",
        limit=FRACTION,
        source=APPENDIX,
    )
    target_period: int = setting(
        1000,
        "interval between updates of the targets",
        unit="updates",
        limit=AT_LEAST_ONE,
        source=APPENDIX,
    )
    temperature: float = setting(
        0.2,
        "alpha, weight of the policy's entropy; the initial value if learn_temperature is set",
        limit=POSITIVE,
        source=APPENDIX,
    )
    learn_temperature: bool = setting(
        False,
        "adjust alpha so that the policy's entropy reaches target_entropy",
        limit=YES_OR_NO,
        source="SAC, Haarnoja et al. 2018",
    )
    target_entropy: float | None = setting(
        None,
        "entropy that a learned alpha aims for; none: minus the number of action dimensions",
        unit="nats",
        limit=OPTIONAL_FINITE,
        source="SAC, Haarnoja et al. 2018",
    )
    sparse: SparseConfig = SparseConfig(lambda1=12.0, lambda2=80.0, drop_fraction=0.1)


AgentConfig = TD3Config | SACConfig


class Algorithm(NamedTuple):
    """A method of the paper: its agent's config and its topology (Section 4.1, Appendix A)."""

    config: type[TD3Config] | type[SACConfig]
    topology: str


ALGORITHMS = {
    "td3": Algorithm(TD3Config, "dense"),
    "static_td3": Algorithm(TD3Config, "static"),
    "ds_td3": Algorithm(TD3Config, "dynamic"),
    "sac": Algorithm(SACConfig, "dense"),
    "static_sac": Algorithm(SACConfig, "static"),
    "ds_sac": Algorithm(SACConfig, "dynamic"),
}

# Settings without a flag: the algorithm's name sets them.
NOT_A_SETTING = ("topology",)
