"""Small agents and random data for the tests of the agents; nothing here asserts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from dsrl_jax.agents import td3
from dsrl_jax.agents.config import TD3Config, validate
from dsrl_jax.agents.types import Spaces, Transition
from dsrl_jax.presets import OFFICIAL

# Neither the centers nor the widths of the actions are equal.
SPACES = Spaces(3, (-1.0, -0.4), (3.0, 0.4))
LOW, HIGH = np.array(SPACES.action_low), np.array(SPACES.action_high)
HALF_RANGE = (HIGH - LOW) / 2

PRESETS = {"paper": {}, "official": OFFICIAL}
PERIOD = 10
# Of the preset `official`: adaptations at updates 2, 12, …, 112, the final drop at 122.
LAST_ADAPTATION = 120
FINAL_DROP = 122
UPDATES = 200

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

update = quick_jit(partial(td3.update, SPACES))


def small_config(preset="paper", **settings):
    last = {"last_adaptation": LAST_ADAPTATION} if preset == "official" else {}
    config = TD3Config(**{**SMALL, **PRESETS[preset], **last, **settings})
    validate(config)
    return config


_init = quick_jit(partial(td3.init, SPACES))


def first_state(key, config):
    """`td3.init`; one program draws for all, as a first state depends on no rule of its config.

    A dense network is a sparse one with all connections.
    """
    connected = {"lambda1": 100.0, "lambda2": 100.0} if config.topology == "dense" else {}
    numbers = {name: getattr(config, name) for name in ("lambda1", "lambda2")} | connected
    return _init(key, TD3Config(topology="static", hidden_sizes=config.hidden_sizes, **numbers))


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
    """A state whose four networks have nothing to do with each other, and no zeros."""
    state = first_state(jax.random.key(0), config)
    return state._replace(
        actor=state.actor._replace(params=random_params(rng, state.actor.params)),
        critic=state.critic._replace(params=random_params(rng, state.critic.params)),
        target_actor=random_params(rng, state.target_actor),
        target_critic=random_params(rng, state.target_critic),
    )


def train(key, config, state, batches):
    """Updates 1, 2, … on `batches`: every state on the way, stacked."""

    def body(state, step_and_batch):
        step, batch = step_and_batch
        state, _ = td3.update(SPACES, key, config, state, batch, step)
        return state, state

    steps = jnp.arange(1, len(batches.reward) + 1)
    return lax.scan(body, state, (steps, batches))[1]


compiled_train = quick_jit(train)


def history(config, key, batches):
    """The states after 0, 1, …, n updates, one on each batch, stacked, as NumPy arrays."""
    first = first_state(key, config)
    states = compiled_train(key, config, first, batches)
    return jax.tree.map(lambda one, more: np.stack([one, *np.asarray(more)]), first, states)


def layers(params):
    """The layers of one network as the reference takes them: (kernel, bias), in order."""
    return [(np.asarray(layer["kernel"]), np.asarray(layer["bias"])) for layer in params.values()]


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
