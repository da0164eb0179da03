"""The examples run, a few steps of each; what they reach stands in the docs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from examples import characters

pytest.importorskip("sklearn")
from examples import digits, sweep


@pytest.fixture(autouse=True)
def ranks_may_differ():
    """As in a user's own code, where a bias is broadcast over a batch."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_digits_trains_every_seed_for_itself(monkeypatch):
    monkeypatch.setattr(digits, "STEPS", 100)
    data, test = digits.load()
    assert len(data[1]) + len(test[1]) == 1797
    accuracy = digits.train(jax.random.split(jax.random.key(0), 2), "RigL", 0.9, data, test)
    assert accuracy.shape == (2,) and accuracy[0] != accuracy[1]
    assert (accuracy > 0.2).all()  # a tenth by chance


def test_the_sweeps_members_have_the_sparsity_asked_for():
    data, test = digits.load()
    accuracy, connections = sweep.train(jnp.array([0.0, 0.9]), data, test, steps=60)
    weights = 64 * 128 + 128 * 128 + 128 * 10
    np.testing.assert_allclose(connections / weights, [1.0, 0.1], atol=1e-3)
    assert (accuracy > 0.3).all()


def test_the_character_model_is_pruned_and_learns():
    text = jnp.asarray(characters.load()[:5000], jnp.int32)
    params, masks, bits = characters.train(jax.random.key(0), text, 60)
    assert bits[-5:].mean() < bits[:5].mean()
    assert masks["embedding"].all()
    assert sparse.check(params, masks) == ()
    layers = sparse.count_connections(masks, sparse.Layout(characters.is_layer))
    assert layers == pytest.approx(0.2 * (256 * 256 + 256 * 128), abs=2)
