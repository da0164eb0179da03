"""How the networks of an agent are sparse: the settings that all agents share. Needs no JAX."""

import dataclasses
from typing import Literal, get_args

from dsrl_jax.config.settings import (
    AT_LEAST_ONE,
    FRACTION,
    NOT_NEGATIVE,
    OPTIONAL_NOT_NEGATIVE,
    OPTIONAL_SPARSITY,
    POSITIVE,
    one_of,
    setting,
    some_of,
)

SECTION = "paper, Section 4.4"
CODE = "authors' code"

Distribution = Literal["erdos_renyi", "erk", "uniform"]
Topology = Literal["dense", "static", "dynamic", "set", "rigl", "snfs"]
TOPOLOGIES = get_args(Topology)
NEVER_ADAPT = ("dense", "static")


@dataclasses.dataclass(frozen=True)
class SparseConfig:
    """How actor and critics are sparse, and how their topology changes; the same for all agents."""

    topology: Literal["dense", "static", "dynamic"] = setting(
        "dynamic",
        "dense networks, a fixed sparse topology, or one that adapts; set by the algorithm",
        limit=one_of("dense", "static", "dynamic"),
        source="paper, Section 4.1",
    )
    actor_topology: Topology | None = setting(
        None,
        "the actor's own topology: dense; static; dynamic, by drop_rule and grow_rule; set, drops "
        "by magnitude, grows at random (Mocanu et al. 2018); rigl, grows by gradient (Evci et al. "
        "2020); snfs, grows by momentum (Dettmers & Zettlemoyer 2019), with dense moments alone; "
        "none: as the algorithm says",
        limit=one_of(*TOPOLOGIES, optional=True),
        source="paper, Section 4.1",
    )
    critic_topology: Topology | None = setting(
        None,
        "the same of the critics",
        limit=one_of(*TOPOLOGIES, optional=True),
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


def network_topology(sparse: SparseConfig, network: str) -> Topology:
    """The topology of `actor`, or of a critic by any name: its own, or else that of all."""
    own = sparse.actor_topology if network == "actor" else sparse.critic_topology
    return own or sparse.topology


def adapts(sparse: SparseConfig, network: str) -> bool:
    """Whether the network's connections change."""
    return network_topology(sparse, network) not in NEVER_ADAPT
