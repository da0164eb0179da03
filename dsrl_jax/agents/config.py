"""Settings of the agents. Needs no JAX; `types.py` registers the classes as trees.

Floats may be traced, and differ between members of one compiled program; all else is static.
Defaults are the paper's on HalfCheetah; `presets.py` has what depends on the task.
"""

import dataclasses
from typing import ClassVar, Literal

from dsrl_jax.settings import (
    AT_LEAST_ONE,
    FRACTION,
    NOT_NEGATIVE,
    OPTIONAL_FINITE,
    OPTIONAL_NOT_NEGATIVE,
    OPTIONAL_SPARSITY,
    POSITIVE,
    POSITIVE_SIZES,
    YES_OR_NO,
    check_limits,
    one_of,
    setting,
    some_of,
)

SECTION = "paper, Section 4.4"
APPENDIX = "paper, Appendix A"
CODE = "authors' code"
PROJECT = "this project"

Distribution = Literal["erdos_renyi", "erk", "uniform"]
HIDDEN_SIZES = "neurons of each hidden layer of actor and critics"


@dataclasses.dataclass(frozen=True)
class SparseConfig:
    """How actor and critics are sparse, and how their topology changes; the same for all agents."""

    topology: Literal["dense", "static", "dynamic"] = setting(
        "dynamic",
        "dense networks, a fixed sparse topology, or one that adapts; set by the algorithm",
        limit=one_of("dense", "static", "dynamic"),
        source="paper, Section 4.1",
    )
    sparse_layers: tuple[Literal["input", "hidden", "output"], ...] = setting(
        ("input", "hidden"),
        "the first hidden layer, the further ones, the output layer; the others are dense",
        limit=some_of("input", "hidden", "output"),
        source=SECTION,
    )
    lambda1: float = setting(
        7.0,
        "Erdős–Rényi density of the first hidden layer: lambda (n_in + n_out) / (n_in n_out)",
        limit=POSITIVE,
        source=SECTION + " and Table 3, eq. (1)",
    )
    lambda2: float = setting(
        64.0,
        "the same of every further layer that is sparse",
        limit=POSITIVE,
        source=SECTION + " and Table 3, eq. (1)",
    )
    sparsity: float | None = setting(
        None,
        "share of absent weights, of actor and critics together, in place of the lambdas",
        limit=OPTIONAL_SPARSITY,
        source="paper, eq. (10)",
    )
    actor_sparsity: float | None = setting(
        None,
        "the same of the actor alone",
        limit=OPTIONAL_SPARSITY,
        source="paper, eq. (10)",
    )
    critic_sparsity: float | None = setting(
        None,
        "the same of the critics alone",
        limit=OPTIONAL_SPARSITY,
        source="paper, eq. (10)",
    )
    distribution: Distribution = setting(
        "erdos_renyi",
        "how a sparsity is shared among the layers: one lambda for all of them, the same with "
        "the sizes of convolutions, or one density",
        limit=one_of("erdos_renyi", "erk", "uniform"),
        source="paper, eq. (1); RigL, Evci et al. 2020",
    )
    connection_count: Literal["bernoulli", "exact"] = setting(
        "bernoulli",
        "first masks: independent draws, or exactly the expected count at random places",
        limit=one_of("bernoulli", "exact"),
        source="paper, eq. (1)",
    )
    drop_fraction: float = setting(
        0.05,
        "eta, share of connections replaced in an adaptation",
        limit=FRACTION,
        source=SECTION + " and Appendix A",
    )
    adaptation_period: int = setting(
        1000,
        "e, between two adaptations; a multiple of the policy delay",
        unit="updates",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    adaptation_offset: int = setting(
        0,
        "adapts when update % adaptation_period equals it; 2 in the authors' code",
        unit="updates",
        limit=NOT_NEGATIVE,
        source="paper, Algorithm 1; " + CODE,
    )
    last_adaptation: int | None = setting(
        None,
        "the first adaptation past this update drops without growing and is the last; none or 0: "
        "never; 50000 before the end in the authors' code",
        unit="updates",
        limit=OPTIONAL_NOT_NEGATIVE,
        source="paper, Algorithm 1; " + CODE,
    )
    drop_rule: Literal["balanced", "per_sign"] = setting(
        "balanced",
        "half of the dropped from each sign, or the share eta of each sign as in the authors' code",
        limit=one_of("balanced", "per_sign"),
        source="paper, Algorithm 2; " + CODE,
    )
    grow_rule: Literal["empty_before_drop", "empty_after_drop"] = setting(
        "empty_before_drop",
        "where connections may grow; the authors' code lets dropped ones come back",
        limit=one_of("empty_before_drop", "empty_after_drop"),
        source="paper, eq. (5); " + CODE,
    )
    grown_weight: Literal["zero", "stepped"] = setting(
        "zero",
        "a grown weight's first value: 0, or what the optimizer's step left there",
        limit=one_of("zero", "stepped"),
        source="paper, Section 3; " + CODE,
    )
    moments: Literal["sparse", "dense"] = setting(
        "sparse",
        "Adam's moments: of connections only, or fed by the dense gradient",
        limit=one_of("sparse", "dense"),
        source="paper, Section 2; " + CODE,
    )
    target_ties: Literal["exact", "strict"] = setting(
        "exact",
        "equal magnitudes at the border of a target: keep exactly k, or drop all of them",
        limit=one_of("exact", "strict"),
        source="paper, Algorithm 3; " + CODE,
    )


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
    if sparse.topology != "dynamic":
        return
    for name in ("adaptation_period", "adaptation_offset"):
        if getattr(sparse, name) % config.policy_delay:
            raise ValueError(
                f"{name} must be a multiple of policy_delay, {config.policy_delay}, so that the "
                f"actor adapts when it is trained, got {getattr(sparse, name)}"
            )
    if sparse.adaptation_offset >= sparse.adaptation_period:
        raise ValueError(
            f"adaptation_offset must be below adaptation_period, {sparse.adaptation_period}, "
            f"got {sparse.adaptation_offset}"
        )
