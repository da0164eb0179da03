"""What a run is, resolved: environment, algorithm, the paper's numbers, and own settings over them.

Every number of the paper that depends on the task, the algorithm or the preset stands here, with
its source; what does not is the default of its setting. Needs no JAX.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dsrl_jax.config import agents as agent_config
from dsrl_jax.config import loop as loop_config
from dsrl_jax.config.agents import AgentConfig, SACConfig, TD3Config
from dsrl_jax.config.loop import BraxConfig, LoopConfig, count_updates, round_up
from dsrl_jax.config.settings import check_limits, check_seeds, near_names, override, settings_of
from dsrl_jax.config.sparsity import NEVER_ADAPT, SparseConfig
from dsrl_jax.config.tasks import PAPER_NAMES, task_of


class Algorithm(NamedTuple):
    """A method by name: an agent's config and its topology (Sections 4.1 and A)."""

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

# λ1 and λ2 by task. Section 4.4: "the same sparsity levels are used for Static-TD3"; Table 3.
# Tasks that are not the paper's have those of HalfCheetah.
LAMBDAS = {
    TD3Config: {
        "HalfCheetah": (7.0, 64.0),
        "Walker2d": (7.0, 64.0),
        "Hopper": (7.0, 64.0),
        "Ant": (40.0, 64.0),
        "Humanoid": (61.0, 64.0),
    },
    SACConfig: {
        "HalfCheetah": (12.0, 80.0),
        "Walker2d": (12.0, 80.0),
        "Hopper": (7.0, 20.0),
        "Ant": (30.0, 64.0),
        "Humanoid": (61.0, 64.0),
    },
}

# Section 4.4 for TD3. For SAC, the code that Section 4.4 names: random steps are trained on, from
# the first batch on.
START_STEPS = {TD3Config: 25_000, SACConfig: 10_000}

# SAC as in Figure 1, Section 4.4: soft updates of the targets.
FIGURE_1 = {"tau": 0.005, "target_period": 1}

# What the authors' published code does where it differs from the paper's text.
OFFICIAL = {
    "adaptation_offset": 2,
    "drop_rule": "per_sign",
    "grow_rule": "empty_after_drop",
    "grown_weight": "stepped",
    "moments": "dense",
    "target_ties": "strict",
}
# The authors' last change of topology comes this many updates before the end of training.
OFFICIAL_LAST_ADAPTATION = 50_000

PRESETS = ("paper", "official", "figure1")

# Chosen by the algorithm's name.
NOT_A_SETTING = ("topology",)

# Settings of the rules that topology dynamic leaves open; the others have theirs by name.
_OF_RULES = ("drop_rule", "grow_rule", "grown_weight")
# Settings of adaptations; a static topology has none.
_OF_ADAPTATIONS = (
    "drop_fraction",
    "adaptation_period",
    "adaptation_offset",
    "last_adaptation",
    *_OF_RULES,
)


@dataclasses.dataclass(frozen=True)
class InitialPolicy:
    """A trained policy that acts in the first `start_steps` steps, in place of random actions.

    Section 4.6, Figure 3. It is told by its content; where it was read decides nothing.
    """

    algo: str
    preset: str
    seed: int
    env_step: int  # for how long it was trained
    sha256: str  # of its parameters
    directory: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides what a run computes.

    seeds: one for each member; members that differ in `varied` may share one
    varied: the agent's settings in which members differ, with a value for each member; in `agent`
      stands that of the first
    freeze_nonfinite: whether a member whose numbers are not finite stops and the others continue;
      else it ends the run
    """

    env: str  # the back-end's id
    env_preset: str
    backend: str
    algo: str
    preset: str
    seeds: tuple[int, ...]
    agent: AgentConfig
    loop: LoopConfig
    brax: BraxConfig | None = None  # of that back-end alone
    initial_policy: InitialPolicy | None = None  # see `training.initial_policy`
    # How settings were changed on the way here, for the user to know.
    changes: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    varied: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    freeze_nonfinite: bool = False

    def updates_at(self, env_step: int) -> int:
        """Updates made when this many steps are done."""
        return count_updates(self.loop, self.brax, env_step)

    @property
    def is_numbered(self) -> bool:
        """Whether rows tell the number of a member, as its seed does not say which it is."""
        return bool(self.varied) or self.freeze_nonfinite

    def agent_of(self, member: int) -> AgentConfig:
        """One member's settings."""
        return override(self.agent, {name: values[member] for name, values in self.varied.items()})


def resolve(
    env_id: str,
    algo: str,
    *,
    preset: str = "paper",
    env_preset: str = "v5",
    backend: str = "gymnasium",
    seeds: int | Iterable[int] = (0,),
    settings: Mapping[str, Any] | None = None,
) -> Experiment:
    """The experiment that a few words mean; settings given by name win over the presets.

    Args:
      env_id, env_preset, backend: an environment that exists, see `envs.catalog`.
      settings: settings of the algorithm's agent (`TD3Config`, `SACConfig`) and `LoopConfig`, and
        with the back-end brax of `BraxConfig`.
    Raises:
      ValueError: if a name or a value is unknown or not allowed; names what is.
    """
    check_choice("algo", algo, ALGORITHMS)
    check_choice("preset", preset, PRESETS)
    seeds = (seeds,) if isinstance(seeds, int) else tuple(seeds)
    check_seeds(seeds)
    config, topology = ALGORITHMS[algo]
    if preset == "figure1" and config is not SACConfig:
        raise ValueError(f"preset figure1 is of sac, static_sac and ds_sac, got algo {algo!r}")
    given = dict(settings or {})
    _check_back_end(given, env_preset, backend)
    _check_names(given, algo, backend)
    check_limits(override(config(), given))
    _check_contradictions(given, algo)

    loop, brax, changes = _resolve_loop(config, backend, given)
    task = PAPER_NAMES.get(env_id) if brax else task_of(env_id)
    numbers = _method_numbers(config, preset, task or "") | {"topology": topology}
    if preset == "official":
        last = count_updates(loop, brax, loop.steps) - OFFICIAL_LAST_ADAPTATION
        numbers["last_adaptation"] = last if last > 0 else None
    agent = override(config(), numbers | given)
    agent_config.validate(agent)
    names = (env_id, env_preset, backend, algo, preset)
    return Experiment(*names, seeds, agent, loop, brax, changes=changes)


def _resolve_loop(
    config: type[AgentConfig], backend: str, given: dict[str, Any]
) -> tuple[LoopConfig, BraxConfig | None, tuple[str, ...]]:
    """The loop, what the back-end brax adds to it, and what had to be rounded for that."""
    numbers = {"start_steps": START_STEPS[config]} | given
    if config is SACConfig:
        numbers = {"update_after": numbers.get("batch_size", SACConfig.batch_size)} | numbers
    loop = override(LoopConfig(), numbers)
    loop_config.validate(loop)
    if backend != "brax":
        return loop, None, ()
    brax = override(BraxConfig(), given)
    loop_config.validate(brax)
    brax = override(brax, {"updates_per_step": brax.updates})
    loop, changes = round_up(loop, brax.num_envs)
    return loop, brax, changes


def _method_numbers(config: type[AgentConfig], preset: str, task: str) -> dict[str, Any]:
    """What a preset says of the agent's settings for a task of the paper, or like one of them."""
    lambdas = LAMBDAS[config]
    lambda1, lambda2 = lambdas.get(task, lambdas["HalfCheetah"])
    of_presets: dict[str, dict[str, Any]] = {"figure1": FIGURE_1, "official": OFFICIAL}
    rules = of_presets.get(preset, {})
    return {"lambda1": lambda1, "lambda2": lambda2, **rules}


def check_choice(what: str, name: str, choices: Iterable[str]) -> None:
    """Raises ValueError, naming the near ones, unless `name` is one of the choices."""
    choices = list(choices)
    if name not in choices:
        hint = near_names(name, choices)
        raise ValueError(f"{what} must be one of {', '.join(choices)}, got {name!r}{hint}")


def has_setting(algo: str, name: str, given: Mapping[str, Any]) -> bool:
    """Whether a method has a setting, beside the other settings that are given."""
    config, topology = ALGORITHMS[algo]
    own_topology = given.get("actor_topology") or given.get("critic_topology")
    if topology == "dense" and name in {field.name for field in settings_of(SparseConfig)}:
        return False
    if topology == "static" and name in _OF_ADAPTATIONS and not own_topology:
        return False
    configs = (LoopConfig, BraxConfig, config)
    return any(name == field.name for each in configs for field in settings_of(each))


def _check_back_end(given: Mapping[str, Any], env_preset: str, backend: str) -> None:
    """No setting of one back-end is given with another."""
    of_brax = [field.name for field in settings_of(BraxConfig) if field.name in given]
    if of_brax and backend != "brax":
        raise ValueError(f"{of_brax[0]} is a setting of backend brax, got backend {backend!r}")
    if backend == "brax" and env_preset != "v5":
        raise ValueError(f"backend brax has no env_preset, got {env_preset!r}: leave it out")


def _check_names(given: Mapping[str, Any], algo: str, backend: str) -> None:
    """Every name is a setting that this algorithm and back-end have."""
    config, topology = ALGORITHMS[algo]
    configs = [LoopConfig, *([BraxConfig] if backend == "brax" else []), config]
    names = [field.name for each in configs for field in settings_of(each)]
    of_sparse = {field.name for field in settings_of(SparseConfig)}
    for name in given:
        check_choice(f"setting of {algo}", name, [n for n in names if n not in NOT_A_SETTING])
        if topology == "dense" and name in of_sparse:
            raise ValueError(f"{name} is a setting of sparse methods, {algo} is dense")


def _check_contradictions(given: Mapping[str, Any], algo: str) -> None:
    """No setting would do nothing beside the others."""
    topology = ALGORITHMS[algo].topology
    topologies = {name: given.get(f"{name}_topology") or topology for name in ("actor", "critic")}
    if topology != "dense":
        _check_topologies(given, algo, topologies)
    if given.get("target_entropy") is not None and not given.get("learn_temperature"):
        raise ValueError("target_entropy is of a learned temperature: set learn_temperature too")
    sparsities = [name for name in given if name.endswith("sparsity") and given[name] is not None]
    lambdas = [name for name in given if name.startswith("lambda")]
    # A sparse network without a sparsity of its own is as sparse as the lambdas say.
    own = [name for name, kind in topologies.items() if kind != "dense"]
    unused = "sparsity" in sparsities or all(f"{name}_sparsity" in sparsities for name in own)
    if lambdas and unused:
        raise ValueError(f"{lambdas[0]} and {sparsities[0]} both say how sparse; give one")
    if "distribution" in given and not sparsities:
        raise ValueError("distribution shares out a sparsity: give one, or lambdas alone")


def _check_topologies(given: Mapping[str, Any], algo: str, topologies: Mapping[str, str]) -> None:
    """Some network is sparse, and every setting is heeded by one of them."""
    config = ALGORITHMS[algo].config
    actor, critic = topologies["actor"], topologies["critic"]
    if actor == critic == "dense":
        dense = next(name for name in ALGORITHMS if ALGORITHMS[name] == (config, "dense"))
        raise ValueError(f"actor_topology and critic_topology are dense: that is algo {dense}")
    own = given.get("actor_topology") or given.get("critic_topology")
    method = algo + (f" with actor_topology {actor} and critic_topology {critic}" if own else "")
    # SAC's actor has no target.
    targets = {critic} if config is SACConfig else {actor, critic}
    for names, whose, there_are in [
        (_OF_ADAPTATIONS, "adaptations", {actor, critic} - set(NEVER_ADAPT)),
        (_OF_RULES, "topology dynamic", "dynamic" in (actor, critic)),
        (("actor_sparsity",), "a sparse actor", actor != "dense"),
        (("critic_sparsity",), "sparse critics", critic != "dense"),
        (("target_ties",), "sparse targets", targets - {"dense"}),
    ]:
        unheeded = [name for name in given if name in names]
        if unheeded and not there_are:
            raise ValueError(f"{unheeded[0]} is a setting of {whose}, {method} has none")
