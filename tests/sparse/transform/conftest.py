"""The compiled steps that the tests of a module share."""

import pytest

from tests.sparse.sparsify_cases import forget_steps


@pytest.fixture(scope="module", autouse=True)
def forget_shared_steps():
    yield
    forget_steps()
