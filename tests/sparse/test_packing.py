"""Masks as bits: nothing is lost, and each bit lies where the docstring says."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from dsrl_jax.sparse.packing import pack, unpack

SHAPES = {
    "rows divide by 8": ((16, 3), (2, 3)),
    "one byte a column": ((8, 5), (1, 5)),
    "stacked": ((2, 3, 24, 5), (2, 3, 3, 5)),
    "no columns": ((8, 0), (1, 0)),
    "rows do not divide by 8": ((17, 4), (17, 4)),
    "a vector": ((16,), (16,)),
    "a number": ((), ()),
}


@pytest.mark.parametrize(("shape", "packed_shape"), SHAPES.values(), ids=SHAPES)
def test_unpack_gives_back_what_was_packed(shape, packed_shape):
    mask = jax.random.bernoulli(jax.random.key(0), 0.5, shape)
    packed = pack({"kernel": mask})
    assert packed["kernel"].shape == packed_shape
    assert packed["kernel"].dtype == (bool if shape == packed_shape else jnp.uint8)
    (unpacked,) = jax.tree.leaves(unpack(packed))
    assert unpacked.dtype == bool
    np.testing.assert_array_equal(unpacked, mask)


@pytest.mark.parametrize("row", [0, 5, 7, 8, 14])
def test_bit_b_of_byte_r_is_row_8r_plus_b(row):
    packed = pack(jnp.zeros((16, 3), bool).at[row, 1].set(True))
    byte, bit = divmod(row, 8)
    expected = np.zeros((2, 3), np.uint8)
    expected[byte, 1] = 1 << bit
    np.testing.assert_array_equal(packed, expected)


def test_union_of_bytes_is_the_union_of_masks():
    first, second = jax.random.bernoulli(jax.random.key(1), 0.3, (2, 32, 7))
    np.testing.assert_array_equal(unpack(pack(first) | pack(second)), first | second)
