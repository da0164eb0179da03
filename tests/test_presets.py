"""What an environment, an algorithm and a preset mean in numbers; FACTS has the numbers."""

import dataclasses
import re

import pytest

from dsrl_jax.agents.config import TD3Config
from dsrl_jax.presets import TOPOLOGIES, resolve
from dsrl_jax.training.config import LoopConfig

# FACTS, Sparsity: lambda1 / lambda2 of DS-TD3 and Static-TD3.
LAMBDAS = {
    "HalfCheetah": (7, 64),
    "Walker2d": (7, 64),
    "Hopper": (7, 64),
    "Ant": (40, 64),
    "Humanoid": (61, 64),
}


@pytest.mark.parametrize(
    "algo, topology", [("td3", "dense"), ("static_td3", "static"), ("ds_td3", "dynamic")]
)
def test_an_algorithm_is_a_topology(algo, topology):
    assert resolve("Hopper-v5", algo).agent.topology == topology


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("task", LAMBDAS)
@pytest.mark.parametrize("algo", ["static_td3", "ds_td3"])
@pytest.mark.parametrize("preset", ["paper", "official"])
def test_lambdas_are_the_tasks(task, version, algo, preset):
    agent = resolve(f"{task}-{version}", algo, preset=preset).agent
    assert (agent.lambda1, agent.lambda2) == LAMBDAS[task]


def test_the_paper_is_the_default_everywhere():
    experiment = resolve("HalfCheetah-v5", "ds_td3")
    assert experiment.preset == "paper"
    assert experiment.seeds == (0,)
    assert experiment.agent == TD3Config()
    assert experiment.loop == LoopConfig()


def test_the_loop_is_the_papers():
    """FACTS, Hyperparameters: run, exploration, replay."""
    assert dataclasses.asdict(resolve("Ant-v5", "td3").loop) == {
        "steps": 1_000_000,
        "start_steps": 25_000,
        "replay_size": 1_000_000,
        "eval_period": 5_000,
        "eval_episodes": 10,
        "log_period": 1_000,
    }


def test_official_differs_from_the_paper_in_the_authors_rules_alone():
    """FACTS, Where the authors' code differs from the paper's text."""
    paper, official = (
        dataclasses.asdict(resolve("Walker2d-v4", "ds_td3", preset=preset).agent)
        for preset in ("paper", "official")
    )
    assert {name: value for name, value in official.items() if value != paper[name]} == {
        "adaptation_offset": 2,
        "last_adaptation": 925_000,  # 1,000,000 steps - 25,000 random ones - 50,000
        "drop_rule": "per_sign",
        "grow_rule": "empty_after_drop",
        "grown_weight": "stepped",
        "moments": "dense",
        "target_ties": "strict",
    }


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
    assert experiment.agent.last_adaptation == last


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
    assert getattr(experiment.agent, name) == value
    plain = resolve("Ant-v5", "ds_td3", preset=preset)
    rest = dataclasses.replace(experiment.agent, **{name: getattr(plain.agent, name)})
    assert rest == plain.agent
    assert experiment.loop == plain.loop


def test_settings_go_to_the_agent_or_to_the_loop():
    settings = {"batch_size": 7, "eval_episodes": 3}
    experiment = resolve("Ant-v5", "ds_td3", settings=settings)
    assert experiment.agent.batch_size == 7
    assert experiment.loop.eval_episodes == 3


def test_agent_and_loop_have_no_setting_in_common():
    agent, loop = (
        {field.name for field in dataclasses.fields(config)} for config in (TD3Config, LoopConfig)
    )
    assert not agent & loop


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"algo": "ds_td"},
            "algo must be one of td3, static_td3, ds_td3, got 'ds_td'; did you mean ds_td3?",
        ),
        ({"algo": "ppo"}, "algo must be one of td3, static_td3, ds_td3, got 'ppo'"),
        ({"preset": "offical"}, "preset must be .* got 'offical'; did you mean official?"),
        (
            {"settings": {"lamda1": 3.0}},
            "setting must be .* got 'lamda1'; did you mean lambda1.*?",
        ),
        ({"settings": {"eval_period": 0}}, "eval_period must be at least 1, got 0"),
        ({"settings": {"drop_fraction": 2.0}}, "drop_fraction must be in [0, 1], got 2.0"),
        ({"seeds": ()}, "seeds must be different whole numbers from 0, got ()"),
        ({"seeds": (1, 1)}, "seeds must be different whole numbers from 0, got (1, 1)"),
        ({"seeds": (-1,)}, "seeds must be different whole numbers from 0, got (-1,)"),
        (
            {"preset": "official", "settings": {"adaptation_period": 2}},
            "adaptation_offset must be below adaptation_period, 2, got 2",
        ),
    ],
)
def test_says_what_is_allowed_and_what_is_near(arguments, message):
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=f"^{pattern}$"):
        resolve("Ant-v5", **{"algo": "ds_td3", **arguments})


def test_the_topology_is_the_algorithms_to_choose():
    with pytest.raises(ValueError, match="^setting must be one of .* got 'topology'"):
        resolve("Ant-v5", "td3", settings={"topology": "dynamic"})
    assert set(TOPOLOGIES) == {"td3", "static_td3", "ds_td3"}
