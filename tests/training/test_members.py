"""Members that differ in numbers, in the compiled programs of both back-ends."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.agents import sac, td3
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import TD3Config
from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.members import express, join, resolve_members
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe
from dsrl_jax.envs import brax
from dsrl_jax.training import compact
from dsrl_jax.training import train as training
from dsrl_jax.training.device.program import compile_device_program
from dsrl_jax.training.device.replay import make_ring
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.program import compile_program
from tests.agents.cases import as_float64, leaves
from tests.branches import branch_conditions
from tests.training.runs import TOYS

SPACES = Spaces(2, (-1.0,), (1.0,))
BATCH, COLUMNS = 8, 7
UPDATES = 200
SETTINGS = {
    "hidden_sizes": (8,),
    "batch_size": BATCH,
    "lambda1": 1.0,
    "drop_fraction": 0.3,
    "adaptation_period": 50,
    "start_steps": 30,
    "steps": 30 + UPDATES,
    "episode_length": 8,
}
# What members differ in, beside their seeds; the others have the settings above.
DIFFERENT = [{}, {"drop_fraction": 0.1, "tau": 0.02}, {"lambda1": 0.7, "learning_rate": 3e-3}]
SEEDS = (4, 4, 7)


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


def alone(member, algo="ds_td3", **settings):
    given = SETTINGS | DIFFERENT[member] | settings
    toy = "tests.toy_brax:PointMass"
    return resolve(toy, algo, backend="brax", seeds=(SEEDS[member],), settings=given)


def together(**settings):
    return join([alone(member, **settings) for member in range(len(SEEDS))])


def make_agent(experiment):
    return (td3 if isinstance(experiment.agent, TD3Config) else sac).make_agent(SPACES)


def host_program(experiment, freeze_nonfinite=False):
    config = config_of_members(experiment)
    return compile_program(
        make_agent(experiment), config, SPACES, experiment.seeds, freeze_nonfinite=freeze_nonfinite
    )


def device_program(experiment):
    """The compiled loop, and the world before the first step."""
    config, environment = config_of_members(experiment), brax.make(experiment.env)
    given = (make_agent(experiment), config, SPACES, experiment.seeds)
    device = compile_device_program(*given, environment, experiment.loop, experiment.brax)
    ring = make_ring(len(experiment.seeds), experiment.loop.steps, SPACES)
    return device, device.start(host_program(experiment).init(), ring)


def train_on_host(experiment, batches):
    """The state after an update on each batch, [updates, batch, columns], the same for all."""
    program, members = host_program(experiment), len(experiment.seeds)
    carry = program.compact(as_float64(program.init()))
    observation = np.zeros((members, 2), np.float32)
    for update, batch in enumerate(batches, start=1):
        packed = np.stack([batch] * members)
        carry, _ = program.step(carry, packed, observation, np.int32(update), np.int32(update))
    return program.expand(carry).state


def train_on_device(experiment, batches):
    """The state after as many updates as there are batches; it makes its own."""
    device, world = device_program(experiment)
    steps = experiment.loop.start_steps + len(batches)
    world = world._replace(carry=as_float64(world.carry))
    return device.advance(world, np.int32(1), np.int32(steps)).carry.state


def without_guesses(tree):
    """Where the search in a target's layer begins changes its time alone; dense ones have none."""
    return {path: leaf for path, leaf in leaves(tree).items() if "/weakest/" not in path}


def assert_same(state, member, expected):
    """A member of a state is the one of another that is alone: masks equal, all else to 1e-7."""
    found, expected = without_guesses(state), without_guesses(expected)
    assert found.keys() == expected.keys()
    for path in found:
        assert found[path].dtype == expected[path].dtype
        if found[path].dtype == bool:
            np.testing.assert_array_equal(found[path][member], expected[path][0], err_msg=path)
        else:
            np.testing.assert_allclose(
                found[path][member], expected[path][0], rtol=1e-7, atol=1e-7, err_msg=path
            )


@pytest.mark.parametrize(
    ("algo", "train", "small"),
    [
        ("ds_td3", train_on_host, compact.SMALL),
        ("ds_td3", train_on_host, 8),  # With kernels that are passed as they are.
        ("ds_td3", train_on_device, compact.SMALL),
        ("ds_sac", train_on_device, compact.SMALL),
    ],
)
def test_a_member_is_the_run_that_it_is_alone(monkeypatch, algo, train, small, rng):
    monkeypatch.setattr(compact, "SMALL", small)
    with jax.enable_x64(True):
        batches = rng.normal(size=(UPDATES, BATCH, COLUMNS)).astype(np.float32)
        batches[..., 4] = batches[..., 4] > 0  # whether the episode terminated
        state = train(together(algo=algo), batches)
        for member in (1, 2):
            assert_same(state, member, train(alone(member, algo=algo), batches))
        kernels = state.actor.params["hidden_0"]["kernel"]
        assert kernels.dtype == jnp.float64
        assert not np.allclose(kernels[0], kernels[1]) and not np.allclose(kernels[0], kernels[2])


@pytest.mark.parametrize(("agent", "preset"), [("td3", "official"), ("sac", "paper")])
def test_dense_static_and_dynamic_are_members_of_one_program(agent, preset, rng):
    """Also by the rule that drops one connection more than its share, and where nothing regrows."""
    batches = rng.normal(size=(UPDATES, BATCH, COLUMNS)).astype(np.float32)
    batches[..., 4] = batches[..., 4] > 0
    own = {
        agent: {},
        f"static_{agent}": {"lambda1": SETTINGS["lambda1"]},
        f"ds_{agent}": {
            name: SETTINGS[name] for name in ("lambda1", "drop_fraction", "adaptation_period")
        } | {"last_adaptation": 120},
    }  # fmt: skip
    plain = {name: value for name, value in SETTINGS.items() if name not in own[f"ds_{agent}"]}
    plain |= {"target_period": 10} if agent == "sac" else {}

    def method(algo):
        toy = "tests.toy_brax:PointMass"
        given = {"backend": "brax", "seeds": (SEEDS[0],), "preset": preset}
        return resolve(toy, algo, settings=plain | own[algo], **given)

    with jax.enable_x64(True):
        wide = join([express(algo, method(f"ds_{agent}")) for algo in own])
        state = train_on_host(wide, batches)
        for member, algo in enumerate(own):
            assert_same(state, member, train_on_host(method(algo), batches))


def test_the_adaptation_is_a_branch_that_members_share():
    """A branch on what differs between members would be a select, at every update."""
    number = jax.ShapeDtypeStruct((), jnp.int32)
    device, world = device_program(together())
    found = branch_conditions(device.advance, world, number, number)
    # Adaptation of critics and actor, and the actor's turn, at the least.
    assert len(found) >= 3 and set(found) == {()}
    advance = device.advance
    compiled = advance.func.lower(*advance.args, world, number, number).compile().as_text()
    assert len(re.findall(r"\(pred\[\], .*\) while\(", compiled)) >= 3


@pytest.mark.parametrize("freeze_nonfinite", [False, True])
def test_on_the_host_an_update_has_no_branch_that_adapts(freeze_nonfinite):
    """There its number is known before it is called; only an adaptation draws what grows."""
    program = host_program(together(), freeze_nonfinite)
    carry = jax.eval_shape(program.compact, jax.eval_shape(program.init))
    packed = jax.ShapeDtypeStruct((3, BATCH, COLUMNS), jnp.float32)
    observation = jax.ShapeDtypeStruct((3, 2), jnp.float32)

    def draws(update):
        step = lambda *given: program.step(*given, np.int32(update), np.int32(0))  # noqa: E731
        others = 1 + 3 + 2  # the actor's turn; targets: each sparse layer, and the rest of each net
        assert branch_conditions(step, carry, packed, observation) == [()] * (
            others + freeze_nonfinite
        )
        return str(jax.make_jaxpr(step)(carry, packed, observation)).count("random_bits")

    period = together().agent.sparse.adaptation_period
    assert draws(period) > draws(period + 2) and draws(period + 2) == draws(2)


def test_updates_that_do_not_adapt_are_one_program():
    """Those before the last adaptation and those after it."""
    settings = {"adaptation_period": 10, "last_adaptation": 15, "drop_fraction": 0.3}
    experiment = alone(0, **settings)
    agent, traced = make_agent(experiment), []

    def update(*given, adaptation):
        traced.append(adaptation)
        return agent.update(*given, adaptation=adaptation)

    counting = agent._replace(update=update)
    program = compile_program(counting, experiment.agent, SPACES, experiment.seeds)
    carry = jax.eval_shape(program.compact, jax.eval_shape(program.init))
    packed = jax.ShapeDtypeStruct((1, BATCH, COLUMNS), jnp.float32)
    observation = jax.ShapeDtypeStruct((1, 2), jnp.float32)
    for number in range(1, 41):
        step = lambda *given: program.step(*given, np.int32(number), np.int32(0))  # noqa: B023, E731
        jax.eval_shape(step, carry, packed, observation)
    assert traced == [(False, False), (True, True), (True, False)]


def test_a_call_trains_members_and_tells_which():
    plain = {name: value for name, value in SETTINGS.items() if name != "episode_length"}
    periods = dict.fromkeys(("steps", "eval_period", "log_period"), 60)
    settings = plain | periods | {"eval_episodes": 1, "adaptation_period": 10}
    settings["drop_fraction"] = [0.0, 0.5]
    rows = dsrl_jax.train(TOYS + "PointMass-v0", seeds=3, **settings)
    last = [row for row in rows if row["env_step"] == 60 and "member" in row]
    assert [(row["member"], row["seed"]) for row in last if row["kind"] == "evaluation"] == [
        (0, 3),
        (1, 3),
    ]
    layer = [r for r in last if r.get("network") == "critic_1" and r["layer"] == "hidden_0"]
    assert layer[0]["churn"] == 0 < layer[1]["churn"]


def test_members_that_share_a_seed_are_told_apart_by_their_number(tmp_path):
    settings = {n: v for n, v in SETTINGS.items() if n != "episode_length"} | {"steps": 10}
    environment = TOYS + "PointMass-v0"
    lists = settings | {"tau": [0.1, 0.2], "eval_episodes": 1}
    experiment = resolve_members(environment, "ds_td3", seeds=3, settings=lists)
    rows = list(training.run(experiment, tmp_path))
    described = describe(experiment) | {"format": FORMAT, "observation_size": 2}
    described |= {"action_low": [-1.0], "action_high": [1.0]}
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="seed 3 is that of the members 0, 1: name a member"):
        dsrl_jax.load_policy(tmp_path, seed=3)
    policy = dsrl_jax.load_policy(tmp_path, member=1)
    assert (policy.member, policy.seed, policy.env_step) == (1, 3, 10)
    assert rows[-1]["kind"] == "timing" and policy(np.zeros(2)).shape == (1,)
