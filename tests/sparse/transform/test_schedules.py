"""Tests schedules against the papers' formulas, and at their limits."""

import jax
import numpy as np
import pytest

from dsrl_jax import sparse
from tests.sparse import reference_rules as slow

STEPS = [0, 1, 7, 50, 99, 100, 150]


def test_cosine_as_rigl_has_it():
    schedule = jax.jit(sparse.cosine_fraction(0.3, 100))
    for step in STEPS:
        np.testing.assert_allclose(schedule(step), slow.cosine(0.3, 100, step), atol=1e-6)


def test_linear_goes_to_0_and_stays():
    schedule = jax.jit(sparse.linear_fraction(0.4, 100))
    expected = [0.4, 0.396, 0.372, 0.2, 0.004, 0.0, 0.0]
    np.testing.assert_allclose([schedule(step) for step in STEPS], expected, atol=1e-6)


def test_a_gradual_sparsity_is_the_polynomial_and_stays_at_its_end():
    gradual = sparse.Gradual(final=0.9, begin=10, end=110, initial=0.2)
    for step in (10, 35, 60, 110, 200):
        found = sparse.gradual_sparsity(gradual, 0.9, step)
        np.testing.assert_allclose(found, slow.gradual(0.9, 0.2, 10, 110, step), atol=1e-6)


def test_a_layer_that_stays_denser_than_the_start_begins_at_its_own_end():
    gradual = sparse.Gradual(final=0.9, begin=10, end=110, initial=0.5)
    assert sparse.gradual_sparsity(gradual, 0.3, 10) == np.float32(0.3)


def test_errors():
    with pytest.raises(ValueError, match=r"first must be in \[0, 1\], got 1.5"):
        sparse.cosine_fraction(1.5, 10)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        sparse.linear_fraction(0.5, 0)
