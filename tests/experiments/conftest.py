"""What the tests of commands share."""

import os

import pytest

from dsrl_jax.training import train as training
from tests.training.numpy_program import numpy_program


@pytest.fixture(scope="module")
def stand_in():
    """Trains with a stand-in in NumPy for the compiled program, which takes seconds to compile."""

    def compile_program(agent, config, spaces, seeds, *, placement=None, freeze_nonfinite=False):
        del agent, config, placement, freeze_nonfinite
        return numpy_program(spaces, seeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "compile_program", compile_program)
        for name in ("JAX_PLATFORMS", "PJRT_NPROC", "XLA_FLAGS"):
            patch.setenv(name, os.environ.get(name, ""))
        yield
