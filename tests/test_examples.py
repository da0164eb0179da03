"""Runs a few steps of each example; the docs show the results of whole runs."""

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
    """As in users' code, which broadcasts a bias over a batch."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(digits, "HIDDEN", 32)


def test_digits_trains_each_seed_separately(monkeypatch, small):
    monkeypatch.setattr(digits, "STEPS", 100)  # one adaptation
    data, test = digits.load()
    assert len(data[1]) + len(test[1]) == 1797
    accuracy = digits.train(jax.random.split(jax.random.key(0), 2), "RigL", 0.5, data, test)
    assert accuracy.shape == (2,) and accuracy[0] != accuracy[1]
    assert (accuracy > 0.2).all()  # a tenth by chance


def test_each_member_of_the_sweep_has_its_sparsity(small):
    data, test = digits.load()
    accuracy, connections = sweep.train(jnp.array([0.0, 0.5]), data, test, steps=60)
    weights = 64 * 32 + 32 * 32 + 32 * 10
    np.testing.assert_allclose(connections / weights, [1.0, 0.5], atol=1e-3)
    assert (accuracy > 0.2).all()


def test_the_character_model_learns_while_it_is_pruned(monkeypatch):
    monkeypatch.setattr(characters, "HIDDEN", 64)
    text = jnp.asarray(characters.load()[:5000], jnp.int32)
    params, masks, bits = characters.train(jax.random.key(0), text, 40)
    assert bits[-5:].mean() < bits[:5].mean()
    assert masks["embedding"].all()
    assert sparse.check(params, masks) == ()
    layers = sparse.count_connections(masks, sparse.Layout(characters.is_layer))
    assert layers == pytest.approx(0.2 * (256 * 64 + 64 * 128), abs=2)
