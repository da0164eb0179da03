"""`resolve` rejects unknown names, values that are not allowed, and settings that contradict."""

import re

import pytest

from dsrl_jax.config.presets import ALGORITHMS, resolve
from dsrl_jax.config.settings import flatten
from tests.envs.refusal import refusal

ALGOS = "td3, static_td3, ds_td3, sac, static_sac, ds_sac"
SEEDS = "seeds must be different whole numbers from 0 to 2147483647, got"
BOTH = {"actor_sparsity": 0.5, "critic_sparsity": 0.5}


def check(algo, settings, message, **names):
    """Checks that the error matches a pattern in full."""
    said = refusal(resolve, "Ant-v5", algo, settings=settings, **names)
    assert re.fullmatch(message, said), said


@pytest.mark.parametrize(
    "names, message",
    [
        ({"algo": "ds_td"}, f"algo must be one of {ALGOS}, got 'ds_td'; did you mean ds_td3.*"),
        ({"algo": "ppo"}, f"algo must be one of {ALGOS}, got 'ppo'"),
        ({"preset": "offical"}, r"preset must be .* got 'offical'; did you mean official\?"),
        (
            {"settings": {"lamda1": 3.0}},
            "setting of ds_td3 must be .* got 'lamda1'; did you mean lambda1.*",
        ),
        *[({"seeds": seeds}, f"{SEEDS} {re.escape(str(seeds))}") for seeds in [(), (1, 1)]],
        *[({"seeds": seeds}, f"{SEEDS} {re.escape(str(seeds))}") for seeds in [(2**31,), (-1,)]],
    ],
)
def test_unknown_names_and_seeds(names, message):
    check(**{"algo": "ds_td3", "settings": {}, **names}, message=message)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"eval_period": 0}, "eval_period must be at least 1, got 0"),
        ({"drop_fraction": 2.0}, r"drop_fraction must be in \[0, 1\], got 2.0"),
        ({"steps": "5"}, "steps must be a whole number, got '5'"),
        ({"steps": 10.0}, "steps must be a whole number, got 10.0"),
        ({"batch_size": -5}, "batch_size must be at least 1, got -5"),
        ({"tau": "half"}, r"tau must be in \[0, 1\], got 'half'"),
        ({"critic_topology": [7]}, r"critic_topology must be one of .* got \[7\]"),
        ({"hidden_sizes": 64}, "hidden_sizes must be one or more positive sizes, got 64"),
    ],
)
def test_values_and_types(settings, message):
    check("ds_sac", settings, message)


def test_the_final_settings_are_validated_too():
    message = "adaptation_offset must be below adaptation_period, 2, got 2"
    check("ds_td3", {"adaptation_period": 2}, message, preset="official")


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_topology_follows_from_the_algorithm(algo):
    check(algo, {"topology": "dynamic"}, f"setting of {algo} must be one of .* got 'topology'.*")


@pytest.mark.parametrize(
    "algo, name, near",
    [
        ("ds_sac", "policy_delay", ""),
        ("ds_sac", "target_noise", ""),
        ("sac", "exploration_noise", ""),
        ("ds_td3", "target_period", "eval_period"),
        ("td3", "learn_temperature", "learning_rate"),
        ("td3", "target_entropy", "target_"),
    ],
)
def test_an_agent_rejects_settings_of_the_other_agent(algo, name, near):
    said = refusal(resolve, "Ant-v5", algo, settings={name: 1})
    assert re.match(f"setting of {algo} must be one of .* got '{name}'", said)
    hint = said.partition("; did you mean ")[2]
    assert near in hint and name not in hint


@pytest.mark.parametrize("algo", ["static_td3", "ds_td3", "static_sac", "ds_sac"])
def test_a_density_is_set_once(algo):
    one_of = "{} and {} both set the density; give one"
    distributed = "distribution needs a sparsity to distribute: give one, or only lambdas"
    for settings, message in [
        ({"lambda1": 7.0, "sparsity": 0.5}, one_of.format("lambda1", "sparsity")),
        ({"sparsity": 0.5, "lambda2": 7.0}, one_of.format("lambda2", "sparsity")),
        ({"lambda2": 7.0, **BOTH}, one_of.format("lambda2", "actor_sparsity")),
        ({"distribution": "erk"}, distributed),
        ({"distribution": "erk", "sparsity": None}, distributed),
        (
            {"sparsity": 0.5, "critic_sparsity": 0.5},
            "sparsity sets all networks, and critic_sparsity one of them; give one",
        ),
    ]:
        check(algo, settings, message)


@pytest.mark.parametrize(
    "algo, settings, message",
    [
        ("sac", {"sparsity": 0.5}, "sparsity is a setting of sparse methods, sac is dense"),
        ("td3", {"lambda1": 3.0}, "lambda1 is a setting of sparse methods, td3 is dense"),
        ("td3", {"drop_fraction": 0.1}, "drop_fraction is a setting of sparse .*, td3 is dense"),
        ("td3", {"actor_topology": "rigl"}, "actor_topology is .* sparse methods, td3 is dense"),
        (
            "static_sac",
            {"adaptation_period": 10},
            "adaptation_period is a setting of adaptations, static_sac has none",
        ),
        (
            "sac",
            {"target_entropy": -1.0},
            "target_entropy needs a learned temperature: set learn_temperature too",
        ),
    ],
)
def test_an_algorithm_rejects_settings_that_it_does_not_use(algo, settings, message):
    check(algo, settings, message)


@pytest.mark.parametrize(
    "algo, actor, critic, settings, message",
    [
        ("ds_td3", "dense", "dense", {}, "actor_topology and .* are dense: that is algo td3"),
        ("static_sac", "dense", "dense", {}, ".* are dense: that is algo sac"),
        (
            "ds_td3",
            "static",
            "dense",
            {"drop_fraction": 0.1},
            "drop_fraction is a setting of adaptations, "
            "ds_td3 with actor_topology static and critic_topology dense has none",
        ),
        ("static_td3", None, "dense", {"last_adaptation": 7}, ".* of adaptations, static_td3 .*"),
        (
            "ds_sac",
            "set",
            "rigl",
            {"grow_rule": "empty_after_drop"},
            "grow_rule is a setting of topology dynamic, "
            "ds_sac with actor_topology set and critic_topology rigl has none",
        ),
        ("ds_td3", "dense", None, {"actor_sparsity": 0.5}, "actor_sparsity .* a sparse actor, .*"),
        ("ds_td3", None, "dense", {"critic_sparsity": 0}, "critic_sparsity .* sparse critics, .*"),
        ("ds_sac", None, "dense", {"target_ties": "strict"}, "target_ties .* sparse targets, .*"),
        (
            "ds_td3",
            "dense",
            "rigl",
            {"critic_sparsity": 0.5, "lambda1": 7.0},
            "lambda1 and critic_sparsity both set the density; give one",
        ),
        ("ds_sac", None, "snfs", {}, "critic_topology snfs .*: set moments to dense, got 'sparse'"),
    ],
)
def test_topologies_reject_settings_that_neither_uses(algo, actor, critic, settings, message):
    own = {"actor_topology": actor, "critic_topology": critic}
    check(algo, {name: kind for name, kind in own.items() if kind} | settings, message)


@pytest.mark.parametrize(
    "settings",
    [
        {"actor_sparsity": 0.5, "lambda1": 7.0},  # the lambda sets the critics' density
        {"sparsity": None, "lambda1": 7.0},
        {"sparsity": 0.5, "distribution": "uniform"},
        {"critic_sparsity": 0.5, "distribution": "erk"},
        {"actor_topology": "dense", "drop_rule": "per_sign", "critic_sparsity": 0.5},
        {"actor_topology": "rigl", "critic_topology": "static", "drop_fraction": 0.5},
        {"critic_topology": "dense", "lambda1": 7.0},
        {"critic_topology": "snfs", "moments": "dense", "target_ties": "strict"},
        {"actor_topology": None, "critic_topology": "dynamic"},
    ],
)
def test_settings_that_may_be_combined(settings):
    values = flatten(resolve("Ant-v5", "ds_sac", settings=settings).agent)
    assert {name: values[name] for name in settings} == settings
