"""Members that differ in numbers, in the compiled programs of both back-ends."""

import json
import re

import chex
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax.agents import sac, td3
from dsrl_jax.config.agents import TD3Config
from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.members import express, join, resolve_members
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe
from dsrl_jax.envs import brax
from dsrl_jax.training import train as training
from dsrl_jax.training.device.program import compile_device_program
from dsrl_jax.training.device.replay import make_ring
from dsrl_jax.training.member_axis import config_of_members
from dsrl_jax.training.program import compile_program
from tests.agents.cases import as_float64, leaves
from tests.training.runs import SPACES, TOYS

BATCH, COLUMNS = 8, 7
UPDATES = 60
SETTINGS = {
    "hidden_sizes": (8,),
    "batch_size": BATCH,
    "lambda1": 1.0,
    "drop_fraction": 0.3,
    "adaptation_period": 14,
    "start_steps": 30,
    "steps": 30 + UPDATES,
    "episode_length": 8,
}
# By member, the settings that differ from those above; seeds differ too.
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
    """Returns the compiled loop, and its state before the first step."""
    device = compile_device_program(experiment, brax.make(experiment.env), SPACES)
    ring = make_ring(len(experiment.seeds), experiment.loop.steps, SPACES)
    return device, device.start(host_program(experiment).init(), ring)


def train_on_host(experiment, batches):
    """Returns the state after an update on each batch, [updates, batch, columns], for all."""
    program, members = host_program(experiment), len(experiment.seeds)
    carry = as_float64(program.init())
    observation = np.zeros((members, 2), np.float32)
    for update, batch in enumerate(batches, start=1):
        packed = np.stack([batch] * members)
        carry, _ = program.step(carry, packed, observation, np.int32(update), np.int32(update))
    return carry.state


def train_on_device(experiment, batches):
    """Returns the state after as many updates as there are batches; it makes its own."""
    device, state = device_program(experiment)
    steps = experiment.loop.start_steps + len(batches)
    state = state._replace(carry=as_float64(state.carry))
    return device.advance(state, np.int32(1), np.int32(steps)).carry.state


def without_guesses(tree):
    """Where a target's search begins changes only its time; dense targets have no search."""
    names = ("/weakest/", "/threshold/")
    return {
        path: leaf for path, leaf in leaves(tree).items() if not any(name in path for name in names)
    }


def assert_same(state, member, expected):
    """Compares a member to one trained alone: masks are equal, all else to 1e-7."""
    found = {path: leaf[member] for path, leaf in without_guesses(state).items()}
    expected = {path: leaf[0] for path, leaf in without_guesses(expected).items()}
    chex.assert_trees_all_equal_dtypes(found, expected)
    chex.assert_trees_all_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("algo", "train"), [("ds_td3", train_on_host), ("ds_sac", train_on_device)]
)
def test_a_member_trains_as_it_does_alone(algo, train, rng):
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
    """Also by the rule that drops one connection more, and at the drop without growth."""
    batches = rng.normal(size=(UPDATES, BATCH, COLUMNS)).astype(np.float32)
    batches[..., 4] = batches[..., 4] > 0
    own = {
        agent: {},
        f"static_{agent}": {"lambda1": SETTINGS["lambda1"]},
        f"ds_{agent}": {
            name: SETTINGS[name] for name in ("lambda1", "drop_fraction", "adaptation_period")
        } | {"last_adaptation": 40},
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


def count_branches(jaxpr):
    """Counts branches on conditions that all members share.

    A branch on a condition of each member would be a select in a batched program. A `while` loop
    whose condition is carried first is a branch, too.
    """
    count = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            first = equation.params["body_jaxpr"].jaxpr.outvars[0].aval
            count += first.dtype == bool and first.shape == ()
        count += equation.primitive.name == "cond" and equation.invars[0].aval.shape == ()
        count += sum(map(count_branches, jax.extend.core.jaxprs_in_params(equation.params)))
    return count


# Adaptations of critics and actor, and the actor's turn, at the least.
BRANCHES = 3


def assert_branches(function, *arguments, least):
    """Checks that the branches are there, and that XLA keeps them."""
    assert count_branches(jax.make_jaxpr(function)(*arguments).jaxpr) >= least
    compiled = function.func.lower(*function.args, *arguments).compile().as_text()
    assert len(re.findall(r" conditional\(|\(pred\[\], .*\) while\(", compiled)) >= BRANCHES


def test_on_the_device_members_share_branches():
    number = jax.ShapeDtypeStruct((), jnp.int32)
    device, state = device_program(together())
    # The choice of random actions, too, and whether there are updates.
    assert_branches(device.advance, state, number, number, least=BRANCHES + 2)


@pytest.mark.parametrize("freeze_nonfinite", [False, True])
def test_on_the_host_members_share_branches(freeze_nonfinite):
    """A select would make every update pay for an adaptation."""
    program, number = (
        host_program(together(), freeze_nonfinite),
        jax.ShapeDtypeStruct((), jnp.int32),
    )
    packed = jax.ShapeDtypeStruct((3, BATCH, COLUMNS), jnp.float32)
    observation = jax.ShapeDtypeStruct((3, 2), jnp.float32)
    carry = jax.eval_shape(program.init)
    given = (carry, packed, observation, number, number)
    assert_branches(program.step, *given, least=BRANCHES + freeze_nonfinite)


def test_a_call_trains_members_and_numbers_them():
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


def test_members_that_share_a_seed_are_named_by_their_number(tmp_path):
    settings = {n: v for n, v in SETTINGS.items() if n != "episode_length"} | {"steps": 10}
    environment = TOYS + "PointMass-v0"
    lists = settings | {"tau": [0.1, 0.2], "eval_episodes": 1}
    experiment = resolve_members(environment, "ds_td3", seeds=3, settings=lists)
    rows = list(training.run(experiment, tmp_path))
    described = describe(experiment) | {"format": FORMAT, "observation_size": 2}
    described |= {"action_low": [-1.0], "action_high": [1.0]}
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="seed 3 has several members, 0, 1: name one"):
        dsrl_jax.load_policy(tmp_path, seed=3)
    policy = dsrl_jax.load_policy(tmp_path, member=1)
    assert (policy.member, policy.seed, policy.env_step) == (1, 3, 10)
    assert rows[-1]["kind"] == "timing" and policy(np.zeros(2)).shape == (1,)
