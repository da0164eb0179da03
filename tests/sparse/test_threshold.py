"""Counts the passes of a search, its whole cost; test_selection.py tests what it finds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax.sparse import selection
from tests import reference


@pytest.fixture
def passes(monkeypatch):
    """The passes over all entries that were made, one by one, without compiling."""
    made, count_true = [], selection.count_true

    def counted(marks):
        made.append(marks.size)
        return count_true(marks)

    monkeypatch.setattr(selection, "count_true", counted)
    with jax.disable_jit():
        yield made


def hostile(rng, size):
    """Magnitudes that are spread as unevenly as floats can be."""
    uniform = 1 + rng.random(size)
    return {
        "of every exponent": 2.0 ** rng.uniform(-126, 127, size),
        "of two scales": np.where(rng.random(size) < 0.5, 1e-30, 1e30) * uniform,
        "denormal": uniform * 1e-40,
        "one far away": np.where(np.arange(size) == size // 2, 3e38, 1e-38 * uniform),
        "tied": np.round(rng.normal(size=size)),
        "infinite": np.where(rng.random(size) < 0.5, np.inf, uniform),
    }


@pytest.mark.parametrize("guess", [None, np.nan, 1e-45, 3e38])
def test_no_scores_and_no_guess_take_more_than_twice_bisections_passes(rng, passes, guess):
    size = 300
    # One to know how many there are; then to find the threshold, and where its ties end.
    most = 1 + 2 * (31 + math.ceil(math.log2(size)))
    guess = None if guess is None else jnp.float32(guess)
    for name, scores in hostile(rng, size).items():
        scores = np.float32(scores)
        for count in (1, 60, 290):
            passes.clear()
            marks, _ = selection.select_strongest(scores, count, guess)
            assert len(passes) <= most, (name, count)
            expected = reference.select_largest(np.abs(scores), scores != 0, count)
            np.testing.assert_array_equal(marks, expected, err_msg=name)


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_a_good_guess_saves_passes(rng, passes, density):
    """A layer that follows another by averages, as targets do; bisection takes 31 passes each."""
    network, count = rng.normal(size=(256, 256)), int(density * 256**2)
    target, guess = rng.normal(size=(256, 256)), None
    taken = []
    for _ in range(8):
        passes.clear()
        _, guess = selection.select_strongest(np.float32(target), count, guess)
        taken.append(len(passes))
        target += 0.005 * (network - target)
    first, *others = taken
    assert np.median(others) <= 9 < first and max(others) < first
