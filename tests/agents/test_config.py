"""What settings are allowed, and what is said about one that is not."""

import dataclasses
import re

import pytest

from dsrl_jax.agents.config import TD3Config, validate

NAN, INFINITY = float("nan"), float("inf")

# (setting, value, what is allowed)
NOT_ALLOWED = [
    *[("hidden_sizes", sizes, "one or more positive sizes") for sizes in [(), (0,), (256, -1)]],
    *[
        (name, value, "at least 0")
        for name in [
            "learning_rate",
            "weight_decay",
            "exploration_noise",
            "target_noise",
            "target_noise_clip",
        ]
        for value in [-1e-3, NAN, INFINITY]
    ],
    *[
        (name, value, "in [0, 1]")
        for name in ["discount", "tau", "drop_fraction"]
        for value in [-0.1, 1.1, NAN, INFINITY]
    ],
    *[
        (name, value, "positive")
        for name in ["lambda1", "lambda2"]
        for value in [0.0, -7.0, NAN, INFINITY]
    ],
    *[
        (name, value, "at least 1")
        for name in ["batch_size", "policy_delay", "adaptation_period"]
        for value in [0, -1]
    ],
    ("adaptation_offset", -2, "at least 0"),
    ("last_adaptation", -1, "at least 0, or none"),
    ("topology", "sparse", "one of dense, static, dynamic"),
    ("connection_count", "random", "one of bernoulli, exact"),
    ("drop_rule", "half", "one of balanced, per_sign"),
    ("grow_rule", "anywhere", "one of empty_before_drop, empty_after_drop"),
    ("grown_weight", "one", "one of zero, stepped"),
    ("moments", "none", "one of sparse, dense"),
    ("target_ties", "Exact", "one of exact, strict"),
]


@pytest.mark.parametrize("name, value, allowed", NOT_ALLOWED)
def test_says_which_setting_what_is_allowed_and_what_it_got(name, value, allowed):
    with pytest.raises(ValueError) as error:
        validate(TD3Config(**{name: value}))
    assert str(error.value) == f"{name} must be {allowed}, got {value!r}"


def test_every_setting_has_a_value_that_is_not_allowed():
    assert {name for name, _, _ in NOT_ALLOWED} == {
        field.name for field in dataclasses.fields(TD3Config)
    }


@pytest.mark.parametrize(
    "name, value",
    [
        ("learning_rate", 0.0),
        ("tau", 1),
        ("tau", 0),
        ("discount", 1.0),
        ("drop_fraction", 0.0),
        ("drop_fraction", 1.0),
        ("lambda1", 1e-9),
        ("hidden_sizes", (1,)),
        ("batch_size", 1),
        ("last_adaptation", 0),
        ("last_adaptation", None),
        ("adaptation_period", 2),
        ("adaptation_offset", 998),
        ("policy_delay", 1),
        ("policy_delay", 1000),
    ],
)
def test_limits_themselves_are_allowed(name, value):
    validate(TD3Config(**{name: value}))


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
        validate(TD3Config(**settings))


@pytest.mark.parametrize("topology", ["dense", "static"])
def test_what_never_adapts_may_have_any_schedule(topology):
    validate(TD3Config(topology=topology, adaptation_period=1001, adaptation_offset=3000))


def test_defaults_are_the_papers():
    """FACTS, Hyperparameters and Sparsity: DS-TD3 on HalfCheetah."""
    config = TD3Config()
    validate(config)
    assert dataclasses.asdict(config) == {
        "topology": "dynamic",
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
        "connection_count": "bernoulli",
        "drop_fraction": 0.05,
        "adaptation_period": 1000,
        "adaptation_offset": 0,
        "last_adaptation": None,
        "drop_rule": "balanced",
        "grow_rule": "empty_before_drop",
        "grown_weight": "zero",
        "moments": "sparse",
        "target_ties": "exact",
    }


@pytest.mark.parametrize("field", dataclasses.fields(TD3Config), ids=lambda field: field.name)
def test_every_setting_says_what_it_is_and_where_its_default_is_from(field):
    assert field.metadata["description"]
    assert re.search("paper|code|TD3", field.metadata["source"])
    assert field.metadata["limit"].holds(field.default)
