"""Settings of the sparse networks of an agent, and of how their topology adapts."""

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
    """Sparsity and topology of actor and critics; TD3 and SAC share these settings."""

    topology: Literal["dense", "static", "dynamic"] = setting(
        "dynamic",
        "topology of all networks: dense, sparse and fixed, or sparse and adapted during training; "
        "the algorithm's name sets it",
        limit=one_of("dense", "static", "dynamic"),
        source="paper, Section 4.1",
    )
    actor_topology: Topology | None = setting(
        None,
        "topology of the actor, in place of the algorithm's: dense; static, fixed masks; dynamic, "
        "the paper's drop_rule and grow_rule; set, drops by magnitude and grows at random "
        "(Mocanu et al. 2018); rigl, grows by gradient (Evci et al. 2020); snfs, grows by "
        "momentum (Dettmers & Zettlemoyer 2019) and needs moments=dense",
        limit=one_of(*TOPOLOGIES, optional=True),
        source="paper, Section 4.1",
    )
    critic_topology: Topology | None = setting(
        None,
        "topology of both critics, in place of the algorithm's: dense; static, fixed masks; "
        "dynamic, the paper's drop_rule and grow_rule; set, drops by magnitude and grows at random "
        "(Mocanu et al. 2018); rigl, grows by gradient (Evci et al. 2020); snfs, grows by "
        "momentum (Dettmers & Zettlemoyer 2019) and needs moments=dense",
        limit=one_of(*TOPOLOGIES, optional=True),
        source="paper, Section 4.1",
    )
    sparse_layers: tuple[Literal["input", "hidden", "output"], ...] = setting(
        ("input", "hidden"),
        "layers that are sparse, the others are dense: input is the first hidden layer, hidden "
        "the further hidden layers, output the output layer",
        limit=some_of("input", "hidden", "output"),
        source=SECTION,
    )
    lambda1: float = setting(
        7.0,
        "Erdős–Rényi parameter of the first hidden layer, which has the density "
        "lambda1 (n_in + n_out) / (n_in n_out)",
        limit=POSITIVE,
        source=SECTION + " and Table 3, eq. (1)",
    )
    lambda2: float = setting(
        64.0,
        "Erdős–Rényi parameter of every other sparse layer, which has the density "
        "lambda2 (n_in + n_out) / (n_in n_out)",
        limit=POSITIVE,
        source=SECTION + " and Table 3, eq. (1)",
    )
    sparsity: float | None = setting(
        None,
        "share of absent weights in actor and critics together; replaces lambda1 and lambda2",
        limit=OPTIONAL_SPARSITY,
        source="paper, eq. (10)",
    )
    actor_sparsity: float | None = setting(
        None,
        "share of absent weights in the actor; replaces its lambda1 and lambda2",
        limit=OPTIONAL_SPARSITY,
        source="paper, eq. (10)",
    )
    critic_sparsity: float | None = setting(
        None,
        "share of absent weights in each critic; replaces its lambda1 and lambda2",
        limit=OPTIONAL_SPARSITY,
        source="paper, eq. (10)",
    )
    distribution: Distribution = setting(
        "erdos_renyi",
        "how a given sparsity is distributed over the layers: erdos_renyi, one lambda for all; "
        "erk, Erdős–Rényi with the kernel sizes of convolutions; uniform, one density for all",
        limit=one_of("erdos_renyi", "erk", "uniform"),
        source="paper, eq. (1); RigL, Evci et al. 2020",
    )
    connection_count: Literal["bernoulli", "exact"] = setting(
        "bernoulli",
        "how the first masks are drawn: bernoulli, one independent draw for each weight; exact, "
        "the expected number of connections at random positions",
        limit=one_of("bernoulli", "exact"),
        source="paper, eq. (1)",
    )
    drop_fraction: float = setting(
        0.05,
        "eta, share of connections replaced by each adaptation",
        limit=FRACTION,
        source=SECTION + " and Appendix A",
    )
    adaptation_period: int = setting(
        1000,
        "e, interval between adaptations; a multiple of policy_delay",
        unit="updates",
        limit=AT_LEAST_ONE,
        source=SECTION,
    )
    adaptation_offset: int = setting(
        0,
        "an update adapts if its number modulo adaptation_period equals this; 2 in the authors' "
        "code",
        unit="updates",
        limit=NOT_NEGATIVE,
        source="paper, Algorithm 1; " + CODE,
    )
    last_adaptation: int | None = setting(
        None,
        "the first adaptation after this update drops without growing and is the last one; "
        "0 or none: adaptations never end; 50000 before the end of training in the authors' code",
        unit="updates",
        limit=OPTIONAL_NOT_NEGATIVE,
        source="paper, Algorithm 1; " + CODE,
    )
    drop_rule: Literal["balanced", "per_sign"] = setting(
        "balanced",
        "what an adaptation drops: balanced, as many positive as negative weights; per_sign, the "
        "share eta of each sign, as in the authors' code",
        limit=one_of("balanced", "per_sign"),
        source="paper, Algorithm 2; " + CODE,
    )
    grow_rule: Literal["empty_before_drop", "empty_after_drop"] = setting(
        "empty_before_drop",
        "where connections grow: empty_before_drop, positions that were empty before the drop; "
        "empty_after_drop, positions just dropped too, as in the authors' code",
        limit=one_of("empty_before_drop", "empty_after_drop"),
        source="paper, eq. (5); " + CODE,
    )
    grown_weight: Literal["zero", "stepped"] = setting(
        "zero",
        "first value of a grown weight: zero, or stepped, the value that the optimizer's step left "
        "there, as in the authors' code",
        limit=one_of("zero", "stepped"),
        source="paper, Section 3; " + CODE,
    )
    moments: Literal["sparse", "dense"] = setting(
        "sparse",
        "Adam's moments: sparse, of connections only; dense, of all weights, from the dense "
        "gradient, as in the authors' code",
        limit=one_of("sparse", "dense"),
        source="paper, Section 2; " + CODE,
    )
    target_ties: Literal["exact", "strict"] = setting(
        "exact",
        "weights of equal magnitude at the border when a target is pruned to k: exact, keeps "
        "exactly k; strict, drops all of them, as in the authors' code",
        limit=one_of("exact", "strict"),
        source="paper, Algorithm 3; " + CODE,
    )


def network_topology(sparse: SparseConfig, network: str) -> Topology:
    """Returns the topology of a network: the actor's if `network` is "actor", else the critics'."""
    own = sparse.actor_topology if network == "actor" else sparse.critic_topology
    return own or sparse.topology


def adapts(sparse: SparseConfig, network: str) -> bool:
    """Returns whether the connections of a network change during training."""
    return network_topology(sparse, network) not in NEVER_ADAPT
