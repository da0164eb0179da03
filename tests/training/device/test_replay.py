"""The ring on the device, compared to a list of every row."""

import jax
import jax.numpy as jnp
import numpy as np

from dsrl_jax.agents.types import Spaces
from dsrl_jax.training.device import replay as device_replay

SPACES = Spaces(2, (-1.0,), (1.0,))
CAPACITY, NEW, MEMBERS = 12, 3, 2
KEYS = jax.random.split(jax.random.key(0), MEMBERS)


def test_samples_are_of_the_last_rows_each_members_own(rng):
    rows, listed = device_replay.make_ring(MEMBERS, CAPACITY, SPACES), []
    add = jax.jit(device_replay.add, donate_argnums=0)
    sample = jax.jit(device_replay.sample, static_argnames="batch_size")
    for count in range(7):
        new = rng.normal(size=(MEMBERS, NEW, rows.shape[-1])).astype(np.float32)
        rows = add(rows, new, jnp.int32(count * NEW))
        listed += list(np.moveaxis(new, 1, 0))
        batch = np.asarray(sample(KEYS, rows, jnp.int32(len(listed)), jnp.int32(1), batch_size=400))
        for member in range(MEMBERS):
            held = {row[member].tobytes() for row in listed[-CAPACITY:]}
            assert {row.tobytes() for row in batch[member]} == held


def test_adding_is_in_place_and_of_the_new_rows_alone():
    rows = jnp.zeros((MEMBERS, CAPACITY, 7))
    new = jnp.ones((MEMBERS, NEW, 7))
    compiled = jax.jit(device_replay.add, donate_argnums=0).lower(rows, new, jnp.int32(0)).compile()
    assert "input_output_alias" in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < rows.nbytes
