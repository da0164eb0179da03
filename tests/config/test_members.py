"""Experiments joined as members of one program, and methods as members of a wider method's."""

import dataclasses

import pytest

from dsrl_jax.agents import layers
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.members import express, join, narrow, resolve_members, shared, widest_algorithm
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe, from_description

ENV = "Hopper-v5"
SPACES = Spaces(11, (-1.0,) * 3, (1.0,) * 3)


def one(algo="ds_td3", seed=0, **settings):
    return resolve(ENV, algo, seeds=(seed,), settings=settings)


def test_join_keeps_each_members_settings():
    settings = [{"drop_fraction": 0.1}, {"drop_fraction": 0.2, "tau": 0.01}, {"drop_fraction": 0.1}]
    single = [one(seed=seed, **given) for seed, given in zip((3, 3, 4), settings, strict=True)]
    joined = join(single)
    assert joined.seeds == (3, 3, 4)
    assert joined.varied == {"drop_fraction": (0.1, 0.2, 0.1), "tau": (0.005, 0.01, 0.005)}
    assert [joined.agent_of(member) for member in range(3)] == [each.agent for each in single]
    assert join([joined, one(seed=5)]).agent_of(1) == single[1].agent


def test_members_that_differ_only_in_seeds_are_a_plain_run():
    assert join([one(seed=0), one(seed=1)]) == resolve(ENV, "ds_td3", seeds=(0, 1))


def test_members_of_a_call_must_differ():
    with pytest.raises(ValueError, match="two members are the same"):
        resolve_members(ENV, "ds_td3", seeds=(0, 0), settings={"tau": [0.1, 0.1]})


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"hidden_sizes": (64, 64)}, "hidden_sizes"),
        ({"adaptation_period": 500}, "adaptation_period"),
        ({"steps": 100}, "loop"),
        # None and a number are two programs.
        ({"sparsity": 0.5}, "sparsity"),
    ],
)
def test_members_share_what_is_not_a_number(settings, name):
    with pytest.raises(ValueError, match=f"not in {name}"):
        join([one(), one(**settings)])
    assert shared(one()) != shared(one(**settings))


def test_lists_are_values_of_members():
    joined = resolve_members(ENV, "ds_sac", seeds=7, settings={"temperature": [0.1, 0.3], "tau": 1})
    assert joined.seeds == (7, 7) and joined.varied == {"temperature": (0.1, 0.3)}
    assert resolve_members(ENV, "td3", seeds=(0, 1), settings={"tau": 0.1}).varied == {}


@pytest.mark.parametrize(
    ("seeds", "settings", "message"),
    [
        ((0, 1), {"tau": [0.1, 0.2, 0.3]}, "tau must .* each of 2 members, got 3"),
        (
            (0,),
            {"tau": [0.1, 0.2], "discount": [0.9]},
            "discount must .* 2 members, got 1",
        ),
        ((0,), {"tau": []}, "tau must .* 1 members, got 0"),
        ((0,), {"tau": [0.1, 2.0]}, r"tau must be in \[0, 1\], got 2.0"),
        ((0,), {"batch_size": [10, 20]}, "batch_size must be a whole number"),
    ],
)
def test_lists_that_do_not_fit_raise_an_error(seeds, settings, message):
    with pytest.raises(ValueError, match=message):
        resolve_members(ENV, "td3", seeds=seeds, settings=settings)


def test_an_experiment_of_members_goes_through_config_json():
    joined = resolve_members(ENV, "ds_td3", seeds=(0, 0), settings={"sparsity": [0.2, 0.5]})
    assert dataclasses.replace(from_description(describe(joined)), changes=()) == joined
    assert "varied" not in describe(one())
    description = describe(joined) | {"varied": {"sparsity": [0.2, 1.5]}}
    with pytest.raises(ValueError, match="sparsity must be at least 0 and below 1"):
        from_description(description)


@pytest.mark.parametrize("agent", ["td3", "sac"])
@pytest.mark.parametrize("given", [{}, {"sparsity": 0.8}, {"actor_sparsity": 0.5}])
def test_methods_become_members_of_the_widest(agent, given):
    algos = [agent, f"static_{agent}", f"ds_{agent}"]
    assert widest_algorithm(algos) == f"ds_{agent}" and widest_algorithm(algos[:2]) == algos[1]
    wide = one(f"ds_{agent}", **given)
    dense, static, dynamic = (express(algo, wide) for algo in algos)
    assert dynamic == wide and shared(dense) == shared(static) == shared(wide)
    assert dense.agent.sparse.drop_fraction == static.agent.sparse.drop_fraction == 0
    networks = layers.network_layers(SPACES, dense.agent)
    assert all(layer.density == 1 for network in networks.values() for layer in network)
    assert narrow(agent, dense).agent == one(agent).agent
    assert narrow(algos[1], static).agent == one(algos[1], **given).agent
    assert narrow(algos[2], dynamic) == dynamic
    assert layers.network_layers(SPACES, static.agent) == layers.network_layers(
        SPACES, one(f"static_{agent}", **given).agent
    )


def test_express_returns_none_if_results_would_differ():
    for algo in ("td3", "static_td3"):
        assert express(algo, one(actor_topology="set")) is None
        assert express(algo, one(critic_topology="static")) is None
