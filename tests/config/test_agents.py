"""Settings of the agents: defaults, limits of each setting, and `validate`."""

import re

import pytest

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.checks import validate
from dsrl_jax.config.settings import flatten, override, settings_of
from tests.envs.refusal import refusal

NAN, INFINITY = float("nan"), float("inf")

NO_NUMBERS = [NAN, INFINITY]
# Words that are near an allowed one, and the hint.
NEAR = {"er": "erk?", "Exact": "exact?"}
SPARSITY = "at least 0 and below 1, or none"
TOPOLOGIES = "one of dense, static, dynamic, set, rigl, snfs, or none"

# (setting, values that are not allowed, allowed values), of both agents and of each
OF_BOTH = [
    ("hidden_sizes", [(), (0,), (256, -1)], "one or more positive sizes"),
    ("learning_rate", [-1e-3, *NO_NUMBERS], "at least 0"),
    ("weight_decay", [-1e-3, *NO_NUMBERS], "at least 0"),
    ("discount", [-0.1, 1.1, *NO_NUMBERS], "in [0, 1]"),
    ("tau", [-0.1, 1.1, *NO_NUMBERS], "in [0, 1]"),
    ("batch_size", [0, -1], "at least 1"),
    ("drop_fraction", [-0.1, 1.1, *NO_NUMBERS], "in [0, 1]"),
    ("lambda1", [0.0, -7.0, *NO_NUMBERS], "positive"),
    ("lambda2", [0.0, -7.0, *NO_NUMBERS], "positive"),
    ("sparsity", [-0.1, 1.0, *NO_NUMBERS], SPARSITY),
    ("actor_sparsity", [-0.1, 1.0, *NO_NUMBERS], SPARSITY),
    ("critic_sparsity", [-0.1, 1.0, *NO_NUMBERS], SPARSITY),
    ("adaptation_period", [0, -1], "at least 1"),
    ("adaptation_offset", [-2], "at least 0"),
    ("last_adaptation", [-1], "at least 0, or none"),
    ("topology", ["sparse"], "one of dense, static, dynamic"),
    ("actor_topology", ["sparse", 1], TOPOLOGIES),
    ("critic_topology", ["RigL", ("set",)], TOPOLOGIES),
    (
        "sparse_layers",
        [(), ("hidden", "hidden"), ("first",), ("input", "head")],
        "one or more of input, hidden, output",
    ),
    ("distribution", ["er"], "one of erdos_renyi, erk, uniform"),
    ("connection_count", ["random"], "one of bernoulli, exact"),
    ("drop_rule", ["half"], "one of balanced, per_sign"),
    ("grow_rule", ["anywhere"], "one of empty_before_drop, empty_after_drop"),
    ("grown_weight", ["one"], "one of zero, stepped"),
    ("moments", ["none"], "one of sparse, dense"),
    ("target_ties", ["Exact"], "one of exact, strict"),
]
OF_AGENT = {
    TD3Config: [
        ("exploration_noise", [-1e-3, *NO_NUMBERS], "at least 0"),
        ("target_noise", [-1e-3, *NO_NUMBERS], "at least 0"),
        ("target_noise_clip", [-1e-3, *NO_NUMBERS], "at least 0"),
        ("policy_delay", [0, -1], "at least 1"),
    ],
    SACConfig: [
        ("target_period", [0, -1], "at least 1"),
        ("temperature", [0.0, -0.2, *NO_NUMBERS], "positive"),
        ("learn_temperature", [1, None, "yes"], "true or false"),
        ("target_entropy", NO_NUMBERS, "finite, or none"),
    ],
}
NOT_ALLOWED = [
    (config, name, value, allowed)
    for config, own in OF_AGENT.items()
    for name, values, allowed in (*OF_BOTH, *own)
    for value in values
]


def error_of(config, **settings):
    return refusal(validate, override(config(), settings))


@pytest.mark.parametrize("config", OF_AGENT)
def test_an_error_names_the_setting_the_allowed_values_and_the_given_value(config):
    for agent, name, value, allowed in NOT_ALLOWED:
        if agent is config:
            said, _, near = error_of(config, **{name: value}).partition("; did you mean ")
            assert said == f"{name} must be {allowed}, got {value!r}"
            assert near == NEAR.get(value, "")
    message = error_of(config, critic_topology="static_")
    assert message.endswith("got 'static_'; did you mean static?")


@pytest.mark.parametrize("config", OF_AGENT)
def test_every_setting_has_a_limit_a_help_text_and_a_source(config):
    settings = settings_of(config)
    tested = {name for agent, name, _, _ in NOT_ALLOWED if agent is config}
    assert tested == {setting.name for setting in settings}
    for setting in settings:
        assert setting.metadata["description"], setting.name
        assert re.search("paper|code|TD3|SAC", setting.metadata["source"]), setting.name
        assert setting.metadata["limit"].allows(setting.default), setting.name


LIMITS_OF_BOTH = [
    ("learning_rate", 0.0),
    ("weight_decay", 0.0),
    ("tau", 1),
    ("tau", 0),
    ("discount", 1.0),
    ("drop_fraction", 0.0),
    ("drop_fraction", 1.0),
    ("lambda1", 1e-9),
    ("sparsity", 0.0),
    ("sparsity", None),
    ("actor_sparsity", 0.999),
    ("critic_sparsity", 0),
    ("hidden_sizes", (1,)),
    ("batch_size", 1),
    ("last_adaptation", 0),
    ("last_adaptation", None),
    ("adaptation_period", 2),
    ("adaptation_offset", 998),
    ("sparse_layers", ("output", "input")),
]


LIMITS_OF_AGENT = {
    TD3Config: [("policy_delay", 1), ("policy_delay", 1000)],
    SACConfig: [
        ("adaptation_period", 1),
        ("adaptation_offset", 999),  # SAC's actor is trained at every update
        ("target_period", 1),
        ("temperature", 1e-9),
        ("learn_temperature", True),
        ("target_entropy", -6.0),
        ("target_entropy", 0),
    ],
}


@pytest.mark.parametrize("config", OF_AGENT)
def test_limits_themselves_are_allowed(config):
    for name, value in [*LIMITS_OF_BOTH, *LIMITS_OF_AGENT[config]]:
        validate(override(config(), {name: value}))


@pytest.mark.parametrize("config", OF_AGENT)
def test_settings_that_exclude_or_need_each_other(config):
    for name in ("actor_sparsity", "critic_sparsity"):
        message = f"sparsity sets all networks, and {name} one of them; give one"
        assert error_of(config, **{"sparsity": 0.5, name: 0.5}) == message
    validate(override(config(), {"actor_sparsity": 0.5, "critic_sparsity": 0.7}))
    for name in ("actor_topology", "critic_topology"):
        assert error_of(config, **{name: "snfs"}) == (
            f"{name} snfs grows by Adam's first moment of absent weights: set moments to dense, "
            "got 'sparse'"
        )
        validate(override(config(), {name: "snfs", "moments": "dense"}))


@pytest.mark.parametrize(
    "config, settings, message",
    [
        (TD3Config, {"adaptation_period": 1001}, "period must be a multiple of .*, 2, .* got 1001"),
        (TD3Config, {"policy_delay": 3}, "period must be a multiple of .*, 3, .* got 1000"),
        (TD3Config, {"adaptation_offset": 3}, "offset must be a multiple of .*, 2, .* got 3"),
        (TD3Config, {"adaptation_offset": 1000}, "offset must be below .*, 1000, got 1000"),
        # Hence e >= 3 with the authors' offset of 2.
        *[
            (
                config,
                {"adaptation_period": 2, "adaptation_offset": 2},
                "offset must be below adaptation_period, 2, got 2",
            )
            for config in OF_AGENT
        ],
    ],
)
def test_the_actor_adapts_only_when_it_is_trained(config, settings, message):
    assert re.fullmatch(f"adaptation_{message}", error_of(config, **settings))


def test_only_networks_that_adapt_limit_the_schedule():
    schedule = {"actor_topology": "static", "adaptation_period": 1001, "adaptation_offset": 3}
    validate(override(TD3Config(), schedule))
    message = error_of(TD3Config, **schedule | {"adaptation_offset": 1001})
    assert message == "adaptation_offset must be below adaptation_period, 1001, got 1001"
    schedule = {"adaptation_period": 1001, "adaptation_offset": 3000}
    for config in OF_AGENT:
        for topology in ("dense", "static"):
            validate(override(config(), {"topology": topology, **schedule}))


# FACTS, Hyperparameters and Sparsity: DS-TD3 and, by Appendix A, DS-SAC on HalfCheetah.
RULES = {
    "topology": "dynamic",
    "actor_topology": None,
    "critic_topology": None,
    "sparse_layers": ("input", "hidden"),
    "sparsity": None,
    "actor_sparsity": None,
    "critic_sparsity": None,
    "distribution": "erdos_renyi",
    "connection_count": "bernoulli",
    "adaptation_period": 1000,
    "adaptation_offset": 0,
    "last_adaptation": None,
    "drop_rule": "balanced",
    "grow_rule": "empty_before_drop",
    "grown_weight": "zero",
    "moments": "sparse",
    "target_ties": "exact",
}
DEFAULTS = {
    TD3Config: {
        "hidden_sizes": (256, 256),
        "learning_rate": 1e-3,
        "weight_decay": 2e-4,
        "batch_size": 100,
        "discount": 0.99,
        "tau": 0.005,
        "policy_delay": 2,
        "exploration_noise": 0.1,
        "target_noise": 0.2,
        "target_noise_clip": 0.5,
        "lambda1": 7.0,
        "lambda2": 64.0,
        "drop_fraction": 0.05,
    },
    SACConfig: {
        "hidden_sizes": (256, 256),
        "learning_rate": 3e-4,
        "weight_decay": 0.0,
        "batch_size": 256,
        "discount": 0.99,
        "tau": 1.0,
        "target_period": 1000,
        "temperature": 0.2,
        "learn_temperature": False,
        "target_entropy": None,
        "lambda1": 12.0,
        "lambda2": 80.0,
        "drop_fraction": 0.1,
    },
}


@pytest.mark.parametrize("config", DEFAULTS)
def test_defaults_are_the_papers(config):
    validate(config())
    assert flatten(config()) == DEFAULTS[config] | RULES
