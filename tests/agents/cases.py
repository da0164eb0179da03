"""Small agents and random data for the tests of the agents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from dsrl_jax import sparse
from dsrl_jax.agents import sac, td3
from dsrl_jax.agents.sparse_training import make_optimizer, make_sparsity
from dsrl_jax.agents.types import Spaces, Transition
from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.checks import validate
from dsrl_jax.config.presets import OFFICIAL
from dsrl_jax.config.settings import flatten, override
from tests import reference

# Neither the centers nor the widths of the actions are equal.
SPACES = Spaces(3, (-1.0, -0.4), (3.0, 0.4))
LOW, HIGH = np.array(SPACES.action_low), np.array(SPACES.action_high)
HALF_RANGE = (HIGH - LOW) / 2

PRESETS = {"paper": {}, "official": OFFICIAL}
PERIOD = 10
# Of the preset `official`: adaptations at updates 2, 12 and 22, the final drop at 32.
LAST_ADAPTATION = 30
FINAL_DROP = 32
UPDATES = 60

CONFIGS = {"td3": TD3Config, "sac": SACConfig}
MODULES = {TD3Config: td3, SACConfig: sac}
# Updates between two of the actor, and between two of the targets. SAC's targets are averages
# here, which say more than copies; see test_sac_updates.py for those.
ACTOR_PERIOD = {"td3": 2, "sac": 1}
TARGET_PERIOD = {"td3": 2, "sac": 4}
SMALL_OF_AGENT = {"td3": {}, "sac": {"tau": 0.005, "target_period": TARGET_PERIOD["sac"]}}

# Expected connections of the small networks: 11 of 24 and 13 of 40 in layer 1, half of layer 2.
SMALL = {
    "hidden_sizes": (8, 8),
    "batch_size": 5,
    "lambda1": 1.0,
    "lambda2": 2.0,
    "drop_fraction": 0.3,
    "adaptation_period": PERIOD,
}

# These programs run for milliseconds: unoptimized, they are compiled in half the time.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small_config(preset="paper", agent="td3", **settings):
    last = {"last_adaptation": LAST_ADAPTATION} if preset == "official" else {}
    values = {**SMALL, **SMALL_OF_AGENT[agent], **PRESETS[preset], **last, **settings}
    config = override(CONFIGS[agent](), values)
    assert values.keys() <= flatten(config).keys()
    validate(config)
    return config


def init(key, config):
    return MODULES[type(config)].init(SPACES, key, config)


def plain_update(key, config, state, batch, step):
    return MODULES[type(config)].update(SPACES, key, config, state, batch, step)


update = quick_jit(plain_update)
_init = quick_jit(init)


def first_state(key, config):
    """The agent's `init`; one program draws for all, as a first state depends on no rule.

    A dense network is a sparse one with all connections; where networks have topologies of their
    own, this is `init` itself.
    """
    if config.sparse.actor_topology or config.sparse.critic_topology:
        return _init(key, config)
    names = ("hidden_sizes", "temperature", "lambda1", "lambda2")
    numbers = {name: value for name, value in flatten(config).items() if name in names}
    is_dense = config.sparse.topology == "dense"
    if is_dense:
        numbers |= {"lambda1": 100.0, "lambda2": 100.0}
    state = _init(key, override(type(config)(), {"topology": "static", **numbers}))
    if not is_dense:
        return state
    # Its targets have no sparse layer, and thus no threshold.
    return state._replace(
        **{
            name: target._replace(threshold=())
            for name, target in state._asdict().items()
            if name.startswith("target")
        }
    )


def random_batch(rng, shape=(5,), spaces=SPACES, dtype=np.float32):
    """Transitions of which about a third terminate; leading axes of `shape`."""
    low, high = spaces.action_low, spaces.action_high
    batch = Transition(
        observation=rng.normal(size=(*shape, spaces.observation_size)),
        action=rng.uniform(low, high, size=(*shape, spaces.action_size)),
        reward=rng.normal(size=shape),
        terminated=rng.random(shape) < 1 / 3,
        next_observation=rng.normal(size=(*shape, spaces.observation_size)),
    )
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), batch)


def random_params(rng, params):
    """Normal values in the shapes of `params`."""
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params)


def random_state(rng, config):
    """Returns a state of unrelated networks and targets, without zeros."""
    state = first_state(jax.random.key(0), config)
    return state._replace(
        actor=state.actor._replace(params=random_params(rng, state.actor.params)),
        critic=state.critic._replace(params=random_params(rng, state.critic.params)),
        **{
            name: target._replace(params=random_params(rng, target.params))
            for name, target in state._asdict().items()
            if name.startswith("target")
        },
    )


def train(key, config, state, batches):
    """Updates 1, 2, … on `batches`: every state on the way, stacked."""

    def body(state, step_and_batch):
        step, batch = step_and_batch
        state, _ = MODULES[type(config)].update(SPACES, key, config, state, batch, step)
        return state, state

    steps = jnp.arange(1, len(batches.reward) + 1)
    return lax.scan(body, state, (steps, batches))[1]


compiled_train = quick_jit(train)


def history(config, key, batches):
    """The states after 0, 1, …, n updates, one on each batch, stacked, as NumPy arrays."""
    first = first_state(key, config)
    states = compiled_train(key, config, first, batches)
    return jax.tree.map(lambda one, more: np.stack([one, *np.asarray(more)]), first, states)


def td3_losses(key, config, state, new_critic, batch):
    key_noise = jax.random.split(key, 3)[0]
    target = td3.td_target(key_noise, SPACES, config, state, batch)
    return (
        lambda params: td3.critic_loss(params, config, target, batch)[0],
        lambda params: td3.actor_loss(params, SPACES, config, new_critic, batch),
    )


def sac_losses(key, config, state, new_critic, batch):
    key_next, key_action, *_ = jax.random.split(key, 4)
    target = sac.soft_target(key_next, SPACES, config, state, batch)
    rest = key_action, SPACES, config, new_critic, config.temperature, batch
    return (
        lambda params: sac.critic_loss(params, config, target, batch)[0],
        lambda params: sac.actor_loss(params, *rest)[0],
    )


@quick_jit
def gradient_steps(key, config, state, new_critic, batch, step):
    """Of critics and actor: params after the gradient step of an update, before they adapt; and
    the dense gradient.

    The actor's loss sees the critics as they are after the update: after their adaptation.
    """
    losses = {TD3Config: td3_losses, SACConfig: sac_losses}[type(config)]
    found = []
    for name, net, loss in zip(
        ("critic", "actor"),
        (state.critic, state.actor),
        losses(jax.random.fold_in(key, step), config, state, new_critic, batch),
        strict=True,
    ):
        gradients = jax.grad(loss)(net.params)
        optimizer, sparsity = make_optimizer(config), make_sparsity(config, name)
        stepped = sparse.gradient_step(net, gradients, optimizer, sparsity)
        found.append((stepped.params, gradients))
    return found


def layers(params, head="output"):
    """One network and a head as the reference takes them: (kernel, bias), in order."""
    names = [*sorted(name for name in params if name.startswith("hidden")), head]
    return [(np.asarray(params[n]["kernel"]), np.asarray(params[n]["bias"])) for n in names]


def q_values(critics, observation, action):
    """Each critic's values by the reference, `[batch]`."""
    inputs = np.concatenate([observation, action], axis=-1)
    return [reference.mlp(layers(critic), inputs)[:, 0] for critic in critics.values()]


def targets_of(state):
    """(params of a target, the net that it follows), of every target that the agent has."""
    found = [(state.target_critic.params, state.critic)]
    if "target_actor" in state._fields:
        found.append((state.target_actor.params, state.actor))
    return found


def leaves(tree):
    """Every leaf by its path, `{"critic_1/hidden_0/kernel": …}`, as NumPy arrays."""
    name = partial(jax.tree_util.keystr, simple=True, separator="/")
    return {
        name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def is_hidden_kernel(path):
    """What the paper makes sparse (Section 4.4), in other words than the agent's."""
    return "hidden" in path and path.endswith("kernel")


def hidden_kernels(tree):
    """The leaves of the sparse layers, by path."""
    return {path: leaf for path, leaf in leaves(tree).items() if is_hidden_kernel(path)}


def moments(net):
    """Adam's two moments, trees like the params."""
    return [optax.tree_utils.tree_get(net.opt_state, name) for name in ("mu", "nu")]


def as_float64(tree):
    """The same with every float in double precision; needs `jax.enable_x64`."""

    def widen(leaf):
        return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(widen, tree)
