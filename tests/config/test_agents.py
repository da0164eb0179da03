"""What settings are allowed, and what is said about one that is not."""

import re

import pytest

from dsrl_jax.config.agents import SACConfig, TD3Config, validate
from dsrl_jax.config.settings import flatten, override, settings_of

NAN, INFINITY = float("nan"), float("inf")

NO_NUMBERS = [NAN, INFINITY]
# What is said of a word that is near to one of those allowed.
NEAR = {"er": "erk?", "Exact": "exact?"}
SPARSITY = "at least 0 and below 1, or none"
TOPOLOGIES = "one of dense, static, dynamic, set, rigl, snfs, or none"

# (setting, values, what is allowed), of both agents and of each
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


@pytest.mark.parametrize("config, name, value, allowed", NOT_ALLOWED)
def test_says_which_setting_what_is_allowed_and_what_it_got(config, name, value, allowed):
    with pytest.raises(ValueError) as error:
        validate(override(config(), {name: value}))
    said, _, near = str(error.value).partition("; did you mean ")
    assert said == f"{name} must be {allowed}, got {value!r}"
    assert near == NEAR.get(value, "")


@pytest.mark.parametrize("config", OF_AGENT)
def test_a_word_that_is_none_of_those_allowed_is_told_with_the_near_ones(config):
    with pytest.raises(ValueError, match="got 'static_'; did you mean static.$"):
        validate(override(config(), {"critic_topology": "static_"}))


@pytest.mark.parametrize("config", OF_AGENT)
def test_every_setting_has_a_value_that_is_not_allowed(config):
    refused = {name for agent, name, _, _ in NOT_ALLOWED if agent is config}
    assert refused == {setting.name for setting in settings_of(config)}


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


@pytest.mark.parametrize(
    "config, name, value",
    [
        *[(config, *limit) for config in OF_AGENT for limit in LIMITS_OF_BOTH],
        (TD3Config, "policy_delay", 1),
        (TD3Config, "policy_delay", 1000),
        (SACConfig, "adaptation_period", 1),
        (SACConfig, "adaptation_offset", 999),  # its actor is trained at every update
        (SACConfig, "target_period", 1),
        (SACConfig, "temperature", 1e-9),
        (SACConfig, "learn_temperature", True),
        (SACConfig, "target_entropy", -6.0),
        (SACConfig, "target_entropy", 0),
    ],
)
def test_limits_themselves_are_allowed(config, name, value):
    validate(override(config(), {name: value}))


@pytest.mark.parametrize("config", OF_AGENT)
@pytest.mark.parametrize("name", ["actor_sparsity", "critic_sparsity"])
def test_one_sparsity_of_all_or_one_of_each(config, name):
    message = f"^{name} and sparsity are two answers to one question; give one$"
    with pytest.raises(ValueError, match=message):
        validate(override(config(), {"sparsity": 0.5, name: 0.5}))
    validate(override(config(), {"actor_sparsity": 0.5, "critic_sparsity": 0.7}))


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"adaptation_period": 1001},
            "adaptation_period must be a multiple of policy_delay, 2, .* got 1001",
        ),
        (
            {"policy_delay": 3},
            "adaptation_period must be a multiple of policy_delay, 3, .* got 1000",
        ),
        (
            {"adaptation_offset": 3},
            "adaptation_offset must be a multiple of policy_delay, 2, .* got 3",
        ),
        (
            {"adaptation_offset": 1000},
            "adaptation_offset must be below adaptation_period, 1000, got 1000",
        ),
        (
            {"adaptation_period": 2, "adaptation_offset": 2},  # hence e >= 3 with offset 2
            "adaptation_offset must be below adaptation_period, 2, got 2",
        ),
    ],
)
def test_the_actor_must_be_trained_where_it_adapts(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        validate(override(TD3Config(), settings))


def test_the_offset_is_below_the_period_for_sac_too():
    with pytest.raises(ValueError, match="^adaptation_offset must be below .*, 2, got 2$"):
        validate(override(SACConfig(), {"adaptation_period": 2, "adaptation_offset": 2}))


def test_the_critics_may_adapt_at_any_update_where_the_actor_never_does():
    schedule = {"actor_topology": "static", "adaptation_period": 1001, "adaptation_offset": 3}
    validate(override(TD3Config(), schedule))
    with pytest.raises(ValueError, match="^adaptation_offset must be below .*, 1001, got 1001$"):
        validate(override(TD3Config(), schedule | {"adaptation_offset": 1001}))


@pytest.mark.parametrize("config", OF_AGENT)
@pytest.mark.parametrize("name", ["actor_topology", "critic_topology"])
def test_momentum_of_absent_weights_needs_dense_moments(config, name):
    message = (
        f"^{name} snfs grows by Adam's first moment of absent weights: set moments to dense, "
        "got 'sparse'$"
    )
    with pytest.raises(ValueError, match=message):
        validate(override(config(), {name: "snfs"}))
    validate(override(config(), {name: "snfs", "moments": "dense"}))


@pytest.mark.parametrize("config", OF_AGENT)
@pytest.mark.parametrize("topology", ["dense", "static"])
def test_what_never_adapts_may_have_any_schedule(config, topology):
    schedule = {"adaptation_period": 1001, "adaptation_offset": 3000}
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


@pytest.mark.parametrize(
    "setting",
    [setting for config in OF_AGENT for setting in settings_of(config)],
    ids=lambda setting: setting.name,
)
def test_every_setting_says_what_it_is_and_where_its_default_is_from(setting):
    assert setting.metadata["description"]
    assert re.search("paper|code|TD3|SAC", setting.metadata["source"])
    assert setting.metadata["limit"].holds(setting.default)
