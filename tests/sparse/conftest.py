"""Variants of a function: compiled and not."""

import jax
import pytest


@pytest.fixture(params=[jax.jit, lambda function: function], ids=["with_jit", "without_jit"])
def variant(request):
    """Wraps a function, as `chex.variants` does for absl's test classes."""
    return request.param
