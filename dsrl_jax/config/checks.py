"""Checks of settings against each other, and against the algorithm and back-end that use them.

`settings.check_limits` checks each setting by itself. Every error is a ValueError of one line.
"""

from collections.abc import Mapping
from typing import Any

from dsrl_jax.config.agents import (
    ALGORITHMS,
    NOT_A_SETTING,
    AgentConfig,
    SACConfig,
)
from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.settings import check_choice, check_limits, settings_of
from dsrl_jax.config.sparsity import NEVER_ADAPT, SparseConfig, adapts

# The rules of topology dynamic; set, rigl and snfs name theirs.
_OF_RULES = ("drop_rule", "grow_rule", "grown_weight")
# A static topology has no adaptations.
_OF_ADAPTATIONS = (
    "drop_fraction",
    "adaptation_period",
    "adaptation_offset",
    "last_adaptation",
    *_OF_RULES,
)


def validate(config: AgentConfig) -> None:
    """Checks the settings of an agent once, before tracing.

    Raises:
      ValueError: names the setting, the allowed values and the given value.
    """
    check_limits(config)
    sparse = config.sparse
    for name in ("actor_sparsity", "critic_sparsity"):
        if sparse.sparsity is not None and getattr(sparse, name) is not None:
            raise ValueError(f"sparsity sets all networks, and {name} one of them; give one")
    for name in ("actor_topology", "critic_topology"):
        if getattr(sparse, name) == "snfs" and sparse.moments != "dense":
            raise ValueError(
                f"{name} snfs grows by Adam's first moment of absent weights: set moments to "
                f"dense, got {sparse.moments!r}"
            )
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


def has_setting(algo: str, name: str, given: Mapping[str, Any]) -> bool:
    """Returns whether an algorithm uses a setting, if the other settings are as `given`."""
    config, topology = ALGORITHMS[algo]
    own_topology = given.get("actor_topology") or given.get("critic_topology")
    if topology == "dense" and name in {field.name for field in settings_of(SparseConfig)}:
        return False
    if topology == "static" and name in _OF_ADAPTATIONS and not own_topology:
        return False
    configs = (LoopConfig, BraxConfig, config)
    return any(name == field.name for each in configs for field in settings_of(each))


def check_names(given: Mapping[str, Any], algo: str, env_preset: str, backend: str) -> None:
    """Raises ValueError unless the algorithm and the back-end have every given setting."""
    config, topology = ALGORITHMS[algo]
    of_brax = [field.name for field in settings_of(BraxConfig)]
    for name in given:
        if name in of_brax and backend != "brax":
            raise ValueError(f"{name} is a setting of backend brax, got backend {backend!r}")
    if backend == "brax" and env_preset != "v5":
        raise ValueError(f"backend brax has no env_preset, got {env_preset!r}: leave it out")
    names = [
        *(field.name for field in settings_of(LoopConfig)),
        *(of_brax if backend == "brax" else []),
        *(field.name for field in settings_of(config) if field.name not in NOT_A_SETTING),
    ]
    of_sparse = {field.name for field in settings_of(SparseConfig)}
    for name in given:
        check_choice(f"setting of {algo}", name, names)
        if topology == "dense" and name in of_sparse:
            raise ValueError(f"{name} is a setting of sparse methods, {algo} is dense")


def check_combination(given: Mapping[str, Any], algo: str) -> None:
    """Raises ValueError if a given setting contradicts another one or would have no effect."""
    topology = ALGORITHMS[algo].topology
    topologies = {name: given.get(f"{name}_topology") or topology for name in ("actor", "critic")}
    if topology != "dense":
        _check_topologies(given, algo, topologies["actor"], topologies["critic"])
    if given.get("target_entropy") is not None and not given.get("learn_temperature"):
        raise ValueError("target_entropy needs a learned temperature: set learn_temperature too")
    sparsities = [name for name in given if name.endswith("sparsity") and given[name] is not None]
    lambdas = [name for name in given if name.startswith("lambda")]
    # A sparse network without a sparsity has the density that the lambdas give.
    sparse_networks = [name for name, kind in topologies.items() if kind != "dense"]
    replaced = all(f"{name}_sparsity" in sparsities for name in sparse_networks)
    if lambdas and ("sparsity" in sparsities or replaced):
        raise ValueError(f"{lambdas[0]} and {sparsities[0]} both set the density; give one")
    if "distribution" in given and not sparsities:
        raise ValueError("distribution needs a sparsity to distribute: give one, or only lambdas")


def _check_topologies(given: Mapping[str, Any], algo: str, actor: str, critic: str) -> None:
    """Checks that a network is sparse, and that each given setting has an effect on one."""
    config = ALGORITHMS[algo].config
    if actor == critic == "dense":
        dense = next(name for name in ALGORITHMS if ALGORITHMS[name] == (config, "dense"))
        raise ValueError(f"actor_topology and critic_topology are dense: that is algo {dense}")
    own = given.get("actor_topology") or given.get("critic_topology")
    method = algo + (f" with actor_topology {actor} and critic_topology {critic}" if own else "")
    # SAC's actor has no target.
    targets = {critic} if config is SACConfig else {actor, critic}
    for names, feature, has_feature in [
        (_OF_ADAPTATIONS, "adaptations", {actor, critic} - set(NEVER_ADAPT)),
        (_OF_RULES, "topology dynamic", "dynamic" in (actor, critic)),
        (("actor_sparsity",), "a sparse actor", actor != "dense"),
        (("critic_sparsity",), "sparse critics", critic != "dense"),
        (("target_ties",), "sparse targets", targets - {"dense"}),
    ]:
        unused = [name for name in given if name in names]
        if unused and not has_feature:
            raise ValueError(f"{unused[0]} is a setting of {feature}, {method} has none")
