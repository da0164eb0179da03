"""Settings of the agents. Needs no JAX; `types.py` registers the classes as trees.

Floats may be traced, and differ between members of one compiled program; all else is static.
Defaults are the paper's on HalfCheetah; `presets.py` has what depends on the task.
"""

import dataclasses
from typing import ClassVar

from dsrl_jax.config.settings import (
    AT_LEAST_ONE,
    FRACTION,
    NOT_NEGATIVE,
    OPTIONAL_FINITE,
    POSITIVE,
    POSITIVE_SIZES,
    YES_OR_NO,
    check_limits,
    setting,
)
from dsrl_jax.config.sparsity import SECTION, SparseConfig, adapts

APPENDIX = "paper, Appendix A"
HIDDEN_SIZES = "neurons of each hidden layer of actor and critics"


@dataclasses.dataclass(frozen=True)
class TD3Config:
    """TD3, Static-TD3 and DS-TD3 (Section 4.4)."""

    ACTOR_HEADS: ClassVar = ("output",)

    hidden_sizes: tuple[int, ...] = setting(
        (256, 256), HIDDEN_SIZES, limit=POSITIVE_SIZES, source=SECTION
    )
    learning_rate: float = setting(1e-3, "Adam's step size", limit=NOT_NEGATIVE, source=SECTION)
    weight_decay: float = setting(
        2e-4,
        "L2 term added to the gradient before Adam, weights and biases",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    batch_size: int = setting(
        100, "N, sampled uniformly", unit="transitions", limit=AT_LEAST_ONE, source=SECTION
    )
    discount: float = setting(
        0.99, "gamma, weight of the next value", limit=FRACTION, source="TD3, Fujimoto et al. 2018"
    )
    tau: float = setting(
        0.005, "share of the online network in a target update", limit=FRACTION, source=SECTION
    )
    policy_delay: int = setting(
        2,
        "d, actor and targets are updated at every d-th update",
        unit="updates",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    exploration_noise: float = setting(
        0.1,
        "standard deviation of the noise on explored actions",
        unit="half ranges of the action",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    target_noise: float = setting(
        0.2,
        "standard deviation of the noise on target actions",
        unit="half ranges of the action",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    target_noise_clip: float = setting(
        0.5,
        "bound c on the noise on target actions",
        unit="half ranges of the action",
        limit=NOT_NEGATIVE,
        source=SECTION,
    )
    sparse: SparseConfig = SparseConfig()

    @property
    def target_period(self) -> int:
        """Targets follow where the actor is trained."""
        return self.policy_delay


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """SAC, Static-SAC and DS-SAC (Appendix A: the critics are copied to their targets)."""

    ACTOR_HEADS: ClassVar = ("mean", "log_std")
    policy_delay: ClassVar[int] = 1  # The actor is trained at every update (Algorithm 4, line 17).

    hidden_sizes: tuple[int, ...] = setting(
        (256, 256), HIDDEN_SIZES, limit=POSITIVE_SIZES, source=APPENDIX
    )
    learning_rate: float = setting(3e-4, "Adam's step size", limit=NOT_NEGATIVE, source=APPENDIX)
    weight_decay: float = setting(
        0.0,
        "L2 term added to the gradient before Adam, weights and biases",
        limit=NOT_NEGATIVE,
        source="SAC, Haarnoja et al. 2018",
    )
    batch_size: int = setting(
        256, "sampled uniformly", unit="transitions", limit=AT_LEAST_ONE, source=APPENDIX
    )
    discount: float = setting(
        0.99, "gamma, weight of the next value", limit=FRACTION, source="SAC, Haarnoja et al. 2018"
    )
    tau: float = setting(
        1.0, "share of the online critics in a target update", limit=FRACTION, source=APPENDIX
    )
    target_period: int = setting(
        1000, "between two target updates", unit="updates", limit=AT_LEAST_ONE, source=APPENDIX
    )
    temperature: float = setting(
        0.2,
        "alpha, weight of the policy's entropy; the first value where it is learned",
        limit=POSITIVE,
        source=APPENDIX,
    )
    learn_temperature: bool = setting(
        False,
        "whether alpha follows the target entropy",
        limit=YES_OR_NO,
        source="SAC, Haarnoja et al. 2018",
    )
    target_entropy: float | None = setting(
        None,
        "entropy that a learned alpha aims at; none: minus the dimensions of the action",
        unit="nats",
        limit=OPTIONAL_FINITE,
        source="SAC, Haarnoja et al. 2018",
    )
    sparse: SparseConfig = SparseConfig(lambda1=12.0, lambda2=80.0, drop_fraction=0.1)


AgentConfig = TD3Config | SACConfig


def validate(config: AgentConfig) -> None:
    """Checks a config once, before tracing.

    Raises:
      ValueError: names the setting, what is allowed and what it got.
    """
    check_limits(config)
    sparse = config.sparse
    if sparse.sparsity is not None:
        for name in ("actor_sparsity", "critic_sparsity"):
            if getattr(sparse, name) is not None:
                raise ValueError(f"{name} and sparsity are two answers to one question; give one")
    for name in ("actor_topology", "critic_topology"):
        if getattr(sparse, name) == "snfs" and sparse.moments != "dense":
            raise ValueError(
                f"{name} snfs grows by Adam's first moment of absent weights: set moments to "
                f"dense, got {sparse.moments!r}"
            )
    _check_schedule(config)


def _check_schedule(config: AgentConfig) -> None:
    """Whether what adapts has its adaptations at updates that train it."""
    sparse = config.sparse
    if adapts(sparse, "actor"):
        for name in ("adaptation_period", "adaptation_offset"):
            if getattr(sparse, name) % config.policy_delay:
                raise ValueError(
                    f"{name} must be a multiple of policy_delay, {config.policy_delay}, so that "
                    f"the actor adapts when it is trained, got {getattr(sparse, name)}"
                )
    any_adapts = adapts(sparse, "actor") or adapts(sparse, "critic")
    if any_adapts and sparse.adaptation_offset >= sparse.adaptation_period:
        raise ValueError(
            f"adaptation_offset must be below adaptation_period, {sparse.adaptation_period}, "
            f"got {sparse.adaptation_offset}"
        )
