"""What an environment, an algorithm and a preset mean in numbers; FACTS has the numbers."""

import pytest

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.config.presets import ALGORITHMS, resolve
from dsrl_jax.config.settings import flatten, override, settings_of

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


@pytest.mark.parametrize("algo", TOPOLOGIES)
def test_an_algorithm_is_an_agent_and_a_topology(algo):
    agent = resolve("Hopper-v5", algo).agent
    assert (type(agent), agent.sparse.topology) == TOPOLOGIES[algo]
    assert ALGORITHMS.keys() == TOPOLOGIES.keys()


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("task", TD3_LAMBDAS)
@pytest.mark.parametrize("algo", LAMBDAS)
@pytest.mark.parametrize("preset", ["paper", "official"])
def test_lambdas_are_the_tasks(task, version, algo, preset):
    sparse = resolve(f"{task}-{version}", algo, preset=preset).agent.sparse
    assert (sparse.lambda1, sparse.lambda2) == LAMBDAS[algo][task]


def test_a_task_of_another_package_has_its_lambdas():
    agent = resolve("Ant-v5", "ds_td3").agent
    assert resolve("package.module:Ant-v0", "ds_td3").agent == agent
    assert agent != resolve("HalfCheetah-v5", "ds_td3").agent


@pytest.mark.parametrize("algo", LAMBDAS)
def test_other_tasks_have_half_cheetahs_lambdas(algo):
    assert resolve("Pusher-v5", algo).agent == resolve("HalfCheetah-v5", algo).agent


@pytest.mark.parametrize("algo, config", [("ds_td3", TD3Config), ("ds_sac", SACConfig)])
def test_the_paper_is_the_default_everywhere(algo, config):
    experiment = resolve("HalfCheetah-v5", algo)
    assert experiment.preset == "paper"
    assert experiment.seeds == (0,)
    assert experiment.agent == config()


@pytest.mark.parametrize(
    "algo, start", [("td3", (25_000, None)), ("ds_td3", (25_000, None)), ("ds_sac", (10_000, 256))]
)
def test_the_loop_is_the_papers(algo, start):
    """FACTS, Hyperparameters: run, exploration, replay; SAC trains on its random steps too."""
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
def test_sacs_updates_begin_after_one_batch_unless_told(settings, start_steps, update_after):
    loop = resolve("Ant-v5", "sac", settings=settings).loop
    assert (loop.start_steps, loop.update_after) == (start_steps, update_after)


def differences(setting_values, plain):
    return {name: value for name, value in setting_values.items() if value != plain[name]}


@pytest.mark.parametrize(
    "algo, last",
    [
        ("ds_td3", 925_000),  # 1,000,000 steps - 25,000 random ones - 50,000
        ("ds_sac", 949_744),  # 1,000,000 steps - 256 - 50,000
    ],
)
def test_official_differs_from_the_paper_in_the_authors_rules_alone(algo, last):
    """FACTS, Where the authors' code differs from the paper's text."""
    paper, official = (
        flatten(resolve("Walker2d-v4", algo, preset=preset).agent)
        for preset in ("paper", "official")
    )
    assert differences(official, paper) == {
        "adaptation_offset": 2,
        "last_adaptation": last,
        "drop_rule": "per_sign",
        "grow_rule": "empty_after_drop",
        "grown_weight": "stepped",
        "moments": "dense",
        "target_ties": "strict",
    }


@pytest.mark.parametrize("algo", ["sac", "static_sac", "ds_sac"])
def test_figure1_is_sac_with_soft_targets(algo):
    """FACTS, Hyperparameters: tau .005 at every update; all else as in Appendix A."""
    paper, figure1 = (
        flatten(resolve("Ant-v5", algo, preset=preset).agent) for preset in ("paper", "figure1")
    )
    assert differences(figure1, paper) == {"tau": 0.005, "target_period": 1}


@pytest.mark.parametrize("algo", ["td3", "static_td3", "ds_td3"])
def test_figure1_is_of_sac_alone(algo):
    message = f"^preset figure1 is of sac, static_sac and ds_sac, got algo '{algo}'$"
    with pytest.raises(ValueError, match=message):
        resolve("Ant-v5", algo, preset="figure1")


@pytest.mark.parametrize(
    "steps, start_steps, last",
    [
        (1_000_000, 25_000, 925_000),
        (300_000, 10_000, 240_000),
        (75_001, 25_000, 1),
        (75_000, 25_000, None),  # not positive: there is none
        (60_000, 25_000, None),
    ],
)
def test_official_ends_50000_updates_before_the_end(steps, start_steps, last):
    settings = {"steps": steps, "start_steps": start_steps}
    experiment = resolve("Hopper-v4", "ds_td3", preset="official", settings=settings)
    assert experiment.agent.sparse.last_adaptation == last


@pytest.mark.parametrize(
    "settings, last",
    [
        ({"steps": 50_257}, 1),
        ({"steps": 50_256}, None),
        ({"steps": 50_257, "start_steps": 40_000}, 1),  # random steps are trained on
        ({"steps": 60_000, "batch_size": 100}, 9_900),
        ({"steps": 60_000, "update_after": 9_000}, 1_000),
    ],
)
def test_sacs_official_end_counts_its_updates(settings, last):
    experiment = resolve("Hopper-v4", "ds_sac", preset="official", settings=settings)
    assert experiment.agent.sparse.last_adaptation == last


@pytest.mark.parametrize("preset", ["paper", "official"])
@pytest.mark.parametrize(
    "name, value",
    [
        ("lambda1", 3.0),
        ("lambda2", 20.0),
        ("drop_fraction", 0.5),
        ("adaptation_offset", 4),
        ("last_adaptation", 77),
        ("drop_rule", "balanced"),
        ("grow_rule", "empty_before_drop"),
        ("grown_weight", "zero"),
        ("moments", "sparse"),
        ("target_ties", "exact"),
        ("hidden_sizes", (64,)),
    ],
)
def test_own_settings_win_over_presets(preset, name, value):
    experiment = resolve("Ant-v5", "ds_td3", preset=preset, settings={name: value})
    values = flatten(experiment.agent)
    assert values[name] == value
    plain = resolve("Ant-v5", "ds_td3", preset=preset)
    assert override(experiment.agent, {name: flatten(plain.agent)[name]}) == plain.agent
    assert experiment.loop == plain.loop


@pytest.mark.parametrize("name, value", [("tau", 0.1), ("target_period", 7)])
def test_own_settings_win_over_figure1(name, value):
    agent = resolve("Ant-v5", "ds_sac", preset="figure1", settings={name: value}).agent
    assert flatten(agent)[name] == value


def test_settings_go_to_the_agent_or_to_the_loop():
    settings = {"batch_size": 7, "eval_episodes": 3}
    experiment = resolve("Ant-v5", "ds_td3", settings=settings)
    assert experiment.agent.batch_size == 7
    assert experiment.loop.eval_episodes == 3


@pytest.mark.parametrize("config", [TD3Config, SACConfig])
def test_agent_and_loop_have_no_setting_in_common(config):
    names = [setting.name for settings in (config, LoopConfig) for setting in settings_of(settings)]
    assert len(set(names)) == len(names)
