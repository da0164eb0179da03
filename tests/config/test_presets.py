"""The numbers that an environment, an algorithm and a preset mean; FACTS has the numbers."""

import pytest

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import ALGORITHMS, resolve
from dsrl_jax.config.settings import flatten, override, settings_of
from tests.envs.refusal import refusal

TOPOLOGIES = {
    "td3": (TD3Config, "dense"),
    "static_td3": (TD3Config, "static"),
    "ds_td3": (TD3Config, "dynamic"),
    "sac": (SACConfig, "dense"),
    "static_sac": (SACConfig, "static"),
    "ds_sac": (SACConfig, "dynamic"),
}
# FACTS, Sparsity (the paper's Section 4.4 and Table 3): lambda1 / lambda2.
TD3_LAMBDAS = {
    "HalfCheetah": (7, 64),
    "Walker2d": (7, 64),
    "Hopper": (7, 64),
    "Ant": (40, 64),
    "Humanoid": (61, 64),
}
SAC_LAMBDAS = {
    "HalfCheetah": (12, 80),
    "Walker2d": (12, 80),
    "Hopper": (7, 20),
    "Ant": (30, 64),
    "Humanoid": (61, 64),
}
LAMBDAS = {
    "static_td3": TD3_LAMBDAS,
    "ds_td3": TD3_LAMBDAS,
    "static_sac": SAC_LAMBDAS,
    "ds_sac": SAC_LAMBDAS,
}


def test_an_algorithm_is_an_agent_and_a_topology():
    assert ALGORITHMS.keys() == TOPOLOGIES.keys()
    for algo, expected in TOPOLOGIES.items():
        agent = resolve("Hopper-v5", algo).agent
        assert (type(agent), agent.sparse.topology) == expected


@pytest.mark.parametrize("algo", LAMBDAS)
def test_lambdas_are_the_tasks(algo):
    for task, lambdas in LAMBDAS[algo].items():
        for preset, version in (("paper", "v5"), ("official", "v5"), ("paper", "v4")):
            sparse = resolve(f"{task}-{version}", algo, preset=preset).agent.sparse
            assert (sparse.lambda1, sparse.lambda2) == lambdas, (task, version, preset)
    cheetah = resolve("HalfCheetah-v5", algo).agent
    assert resolve("Pusher-v5", algo).agent == cheetah  # so has every other task
    other_package = resolve("package.module:Ant-v0", algo).agent
    assert other_package == resolve("Ant-v5", algo).agent != cheetah


@pytest.mark.parametrize("algo, config", [("ds_td3", TD3Config), ("ds_sac", SACConfig)])
def test_the_paper_is_the_default_everywhere(algo, config):
    experiment = resolve("HalfCheetah-v5", algo)
    assert experiment.preset == "paper"
    assert experiment.seeds == (0,)
    assert experiment.agent == config()
    assert resolve("HalfCheetah-v5", algo, seeds=3).seeds == (3,)


@pytest.mark.parametrize(
    "algo, start", [("td3", (25_000, None)), ("ds_td3", (25_000, None)), ("ds_sac", (10_000, 256))]
)
def test_the_loop_is_the_papers(algo, start):
    """FACTS, Hyperparameters: run, exploration, replay; SAC updates during its random steps."""
    start_steps, update_after = start
    assert flatten(resolve("Ant-v5", algo).loop) == {
        "steps": 1_000_000,
        "start_steps": start_steps,
        "update_after": update_after,
        "replay_size": 1_000_000,
        "eval_period": 5_000,
        "eval_episodes": 10,
        "checkpoint_period": 5_000,
        "log_period": 1_000,
    }


@pytest.mark.parametrize(
    "settings, start_steps, update_after",
    [
        ({"batch_size": 64}, 10_000, 64),
        ({"start_steps": 500}, 500, 256),
        ({"update_after": 3000, "batch_size": 64}, 10_000, 3000),
        ({"update_after": None}, 10_000, None),
    ],
)
def test_sacs_updates_begin_after_one_batch_by_default(settings, start_steps, update_after):
    loop = resolve("Ant-v5", "sac", settings=settings).loop
    assert (loop.start_steps, loop.update_after) == (start_steps, update_after)


def differences(env_id, algo, preset):
    """The agent's settings in which a preset differs from the paper."""
    paper = flatten(resolve(env_id, algo).agent)
    values = flatten(resolve(env_id, algo, preset=preset).agent)
    return {name: value for name, value in values.items() if value != paper[name]}


@pytest.mark.parametrize(
    "algo, last",
    [
        ("ds_td3", 925_000),  # 1,000,000 steps - 25,000 random ones - 50,000
        ("ds_sac", 949_744),  # 1,000,000 steps - 256 - 50,000
    ],
)
def test_official_differs_from_the_paper_only_in_the_authors_rules(algo, last):
    """FACTS, Where the authors' code differs from the paper's text."""
    assert differences("Walker2d-v4", algo, "official") == {
        "adaptation_offset": 2,
        "last_adaptation": last,
        "drop_rule": "per_sign",
        "grow_rule": "empty_after_drop",
        "grown_weight": "stepped",
        "moments": "dense",
        "target_ties": "strict",
    }


def test_figure1_is_sac_with_soft_targets():
    """FACTS, Hyperparameters: tau .005 at every update; the rest as in Appendix A."""
    for algo in ("sac", "static_sac", "ds_sac"):
        assert differences("Ant-v5", algo, "figure1") == {"tau": 0.005, "target_period": 1}
    for algo in ("td3", "static_td3", "ds_td3"):
        message = f"preset figure1 needs sac, static_sac or ds_sac, got algo '{algo}'"
        assert refusal(resolve, "Ant-v5", algo, preset="figure1") == message


@pytest.mark.parametrize(
    "algo, settings, last",
    [
        ("ds_td3", {"steps": 1_000_000, "start_steps": 25_000}, 925_000),
        ("ds_td3", {"steps": 300_000, "start_steps": 10_000}, 240_000),
        ("ds_td3", {"steps": 75_001, "start_steps": 25_000}, 1),
        ("ds_td3", {"steps": 75_000, "start_steps": 25_000}, None),  # not positive: there is none
        ("ds_td3", {"steps": 60_000, "start_steps": 25_000}, None),
        ("ds_sac", {"steps": 50_257}, 1),
        ("ds_sac", {"steps": 50_256}, None),
        ("ds_sac", {"steps": 50_257, "start_steps": 40_000}, 1),  # updates during random steps
        ("ds_sac", {"steps": 60_000, "batch_size": 100}, 9_900),
        ("ds_sac", {"steps": 60_000, "update_after": 9_000}, 1_000),
    ],
)
def test_official_ends_50000_updates_before_the_end(algo, settings, last):
    experiment = resolve("Hopper-v4", algo, preset="official", settings=settings)
    assert experiment.agent.sparse.last_adaptation == last


OWN = {
    "lambda1": 3.0,
    "lambda2": 20.0,
    "drop_fraction": 0.5,
    "adaptation_offset": 4,
    "last_adaptation": 77,
    "drop_rule": "balanced",
    "grow_rule": "empty_before_drop",
    "grown_weight": "zero",
    "moments": "sparse",
    "target_ties": "exact",
    "hidden_sizes": (64,),
}


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_own_settings_override_presets(preset):
    plain = resolve("Ant-v5", "ds_td3", preset=preset)
    for name, value in OWN.items():
        experiment = resolve("Ant-v5", "ds_td3", preset=preset, settings={name: value})
        assert flatten(experiment.agent)[name] == value
        assert override(experiment.agent, {name: flatten(plain.agent)[name]}) == plain.agent, name
        assert experiment.loop == plain.loop


@pytest.mark.parametrize("name, value", [("tau", 0.1), ("target_period", 7)])
def test_own_settings_override_figure1(name, value):
    agent = resolve("Ant-v5", "ds_sac", preset="figure1", settings={name: value}).agent
    assert flatten(agent)[name] == value


def test_settings_go_to_the_agent_or_to_the_loop():
    settings = {"batch_size": 7, "eval_episodes": 3}
    experiment = resolve("Ant-v5", "ds_td3", settings=settings)
    assert experiment.agent.batch_size == 7
    assert experiment.loop.eval_episodes == 3
    for config in (TD3Config, SACConfig):
        names = [field.name for each in (config, LoopConfig) for field in settings_of(each)]
        assert len(set(names)) == len(names)  # none could be meant by both
