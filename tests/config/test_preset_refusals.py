"""What is refused about an experiment: unknown names, values, and settings that contradict."""

import re

import pytest

from dsrl_jax.config.presets import ALGORITHMS, resolve
from dsrl_jax.config.settings import flatten


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"algo": "ds_td"},
            "algo must be one of td3, static_td3, ds_td3, sac, static_sac, ds_sac, got 'ds_td'; "
            "did you mean ds_td3.*?",
        ),
        (
            {"algo": "ppo"},
            "algo must be one of td3, static_td3, ds_td3, sac, static_sac, ds_sac, got 'ppo'",
        ),
        ({"preset": "offical"}, "preset must be .* got 'offical'; did you mean official?"),
        (
            {"settings": {"lamda1": 3.0}},
            "setting of ds_td3 must be .* got 'lamda1'; did you mean lambda1.*?",
        ),
        ({"settings": {"eval_period": 0}}, "eval_period must be at least 1, got 0"),
        ({"settings": {"drop_fraction": 2.0}}, "drop_fraction must be in [0, 1], got 2.0"),
        ({"seeds": ()}, "seeds must be different whole numbers from 0 to 2147483647, got ()"),
        (
            {"seeds": (1, 1)},
            "seeds must be different whole numbers from 0 to 2147483647, got (1, 1)",
        ),
        (
            {"seeds": (2**31,)},
            "seeds must be different whole numbers from 0 to 2147483647, got (2147483648,)",
        ),
        ({"seeds": (-1,)}, "seeds must be different whole numbers from 0 to 2147483647, got (-1,)"),
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


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_the_topology_is_the_algorithms_to_choose(algo):
    with pytest.raises(ValueError, match=f"^setting of {algo} must be one of .* got 'topology'"):
        resolve("Ant-v5", algo, settings={"topology": "dynamic"})


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
def test_settings_of_the_other_agent_are_refused(algo, name, near):
    with pytest.raises(ValueError, match=f"^setting of {algo} must be one of .* got '{name}'") as e:
        resolve("Ant-v5", algo, settings={name: 1})
    hint = str(e.value).partition("; did you mean ")[2]
    assert near in hint
    assert name not in hint


@pytest.mark.parametrize("algo", ["static_td3", "ds_td3", "static_sac", "ds_sac"])
def test_settings_that_contradict_each_other_are_refused(algo):
    both = {"actor_sparsity": 0.5, "critic_sparsity": 0.5}
    for settings, message in [
        ({"lambda1": 7.0, "sparsity": 0.5}, "lambda1 and sparsity both say how sparse; give one"),
        ({"sparsity": 0.5, "lambda2": 7.0}, "lambda2 and sparsity both say how sparse; give one"),
        (
            {"lambda2": 7.0, **both},
            "lambda2 and actor_sparsity both say how sparse; give one",
        ),
        (
            {"distribution": "erk"},
            "distribution shares out a sparsity: give one, or lambdas alone",
        ),
        (
            {"distribution": "erk", "sparsity": None},
            "distribution shares out a sparsity: give one, or lambdas alone",
        ),
        (
            {"sparsity": 0.5, "critic_sparsity": 0.5},
            "critic_sparsity and sparsity are two answers to one question; give one",
        ),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            resolve("Ant-v5", algo, settings=settings)


@pytest.mark.parametrize(
    "algo, settings, message",
    [
        ("sac", {"sparsity": 0.5}, "sparsity is a setting of sparse methods, sac is dense"),
        ("td3", {"lambda1": 3.0}, "lambda1 is a setting of sparse methods, td3 is dense"),
        ("td3", {"drop_fraction": 0.1}, "drop_fraction is a setting of sparse .*, td3 is dense"),
        (
            "static_sac",
            {"adaptation_period": 10},
            "adaptation_period is a setting of adaptations, static_sac has none",
        ),
        (
            "sac",
            {"target_entropy": -1.0},
            "target_entropy is of a learned temperature: set learn_temperature too",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(algo, settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        resolve("Ant-v5", algo, settings=settings)


@pytest.mark.parametrize(
    "algo, actor, critic, settings, message",
    [
        ("td3", "rigl", None, {}, "actor_topology is a setting of sparse methods, td3 is dense"),
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
            "lambda1 and critic_sparsity both say how sparse; give one",
        ),
        ("ds_sac", None, "snfs", {}, "critic_topology snfs .*: set moments to dense, got 'sparse'"),
    ],
)
def test_what_the_networks_topologies_do_not_heed_is_refused(
    algo, actor, critic, settings, message
):
    given = {"actor_topology": actor, "critic_topology": critic}
    given = {name: topology for name, topology in given.items() if topology}
    with pytest.raises(ValueError, match=f"^{message}$"):
        resolve("Ant-v5", algo, settings=given | settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"steps": "5"}, "steps must be a whole number, got '5'"),
        ({"steps": 10.0}, "steps must be a whole number, got 10.0"),
        ({"batch_size": -5}, "batch_size must be at least 1, got -5"),
        ({"tau": "half"}, r"tau must be in \[0, 1\], got 'half'"),
        ({"critic_topology": [7]}, r"critic_topology must be one of .* got \[7\]"),
        ({"hidden_sizes": 64}, "hidden_sizes must be one or more positive sizes, got 64"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_settings_name(settings, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        resolve("Ant-v5", "ds_sac", settings=settings)


def test_one_seed_may_be_a_number():
    assert resolve("Ant-v5", "td3", seeds=3).seeds == (3,)


@pytest.mark.parametrize(
    "settings",
    [
        {"actor_sparsity": 0.5, "lambda1": 7.0},  # the critics are as the lambda says
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
def test_settings_that_go_together(settings):
    values = flatten(resolve("Ant-v5", "ds_sac", settings=settings).agent)
    assert {name: values[name] for name in settings} == settings
