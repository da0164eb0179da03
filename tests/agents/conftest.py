"""What the tests of the agents share."""

import jax
import pytest


@pytest.fixture(autouse=True)
def rank_promotion_allowed():
    """The agents broadcast between ranks; see test_td3.py::test_broadcasts_no_ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield
