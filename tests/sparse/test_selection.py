"""Tests which entries are selected against `reference.py`, on random cases full of ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from tests import reference

SELECTIONS = [
    pytest.param(sparse.select_largest, reference.select_largest, id="largest"),
    pytest.param(sparse.select_smallest, reference.select_smallest, id="smallest"),
]
each_selection = pytest.mark.parametrize("select, expected", SELECTIONS)

# Values in the documented order. Random scores are drawn as places in such a list, and the
# reference compares the places: it need not know how a NaN or a -0.0 ranks.
FLOATS = [-np.inf, -1.5, -1e-7, -0.0, 0.0, 1e-7, 1.5, np.inf, np.nan]
ASCENDING = {
    "float16": FLOATS,
    "bfloat16": FLOATS,
    "float32": FLOATS,
    "int8": [-128, -3, -1, 0, 1, 3, 127],
    "int32": [-(2**31), -(2**16), -1, 0, 1, 2**16, 2**31 - 1],
}
SHAPES = [(0,), (1,), (1, 97), (131, 1), (2, 3, 5)]


def random_case(rng, shape, n_values):
    """Places of the scores, candidates, and a count from below 0 to above their number."""
    # One value: all equal. Two: ties everywhere. All: zeros of both signs, infinities, NaN.
    places = rng.choice(n_values, size=rng.choice([1, 2, n_values]), replace=False)
    candidates = rng.random(shape) < rng.choice([0.0, 0.2, 0.9, 1.0])
    count = rng.choice([-3, 0, 1, candidates.sum(), rng.integers(0, candidates.size + 3)])
    return rng.choice(places, size=shape), candidates, np.int32(count)


@each_selection
@pytest.mark.parametrize("dtype", ASCENDING)
def test_selects_as_the_reference_in_every_type(rng, select, expected, dtype):
    values = np.asarray(ASCENDING[dtype], jnp.dtype(dtype))
    cases = [random_case(rng, (7, 11), len(values)) for _ in range(200)]
    places, candidates, counts = map(np.stack, zip(*cases, strict=True))

    selected = jax.jit(jax.vmap(select))(values[places], candidates, counts)

    assert selected.dtype == bool
    np.testing.assert_array_equal(selected, [expected(*case) for case in cases])


@each_selection
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_selects_as_the_reference_in_every_shape(rng, select, expected, shape):
    values = np.asarray(FLOATS, np.float32)
    jitted = jax.jit(select)  # the count is traced
    for _ in range(40):
        places, candidates, count = random_case(rng, shape, len(FLOATS))
        selected = jitted(values[places], candidates, count)
        np.testing.assert_array_equal(selected, expected(places, candidates, count))


@each_selection
def test_selects_as_the_reference_in_a_whole_layer(rng, select, expected):
    jitted = jax.jit(select)
    scores = rng.normal(size=(256, 256)).astype(np.float32)
    few = np.round(scores) + 0.0  # nine values, tied by the thousand; the sum makes -0.0 a 0.0
    candidates = rng.random(scores.shape) < 0.5
    for array, count in [(scores, 20_000), (few, 20_000), (few, 1), (few, 65_536)]:
        selected = jitted(array, candidates, count)
        np.testing.assert_array_equal(selected, expected(array, candidates, count))


@each_selection
def test_selects_as_the_reference_in_double_precision(rng, select, expected):
    scores = 1 + rng.integers(0, 5, size=(8, 8)) * 2.0**-50  # all the same in float32
    with jax.enable_x64(True):
        selected = jax.jit(select)(jnp.asarray(scores), np.ones(scores.shape, bool), 13)
    np.testing.assert_array_equal(selected, expected(scores, np.ones(scores.shape, bool), 13))


@each_selection
def test_vmap_jit_and_eager_agree(rng, select, expected):
    del expected  # Of the same function.
    scores = rng.integers(-2, 3, size=(40, 6, 7)).astype(np.float32)
    candidates = rng.random(scores.shape) < 0.7
    counts = rng.integers(-1, 45, size=40)

    batched = jax.jit(jax.vmap(select))(scores, candidates, counts)
    np.testing.assert_array_equal(batched, list(map(jax.jit(select), scores, candidates, counts)))
    eager = select(jnp.asarray(scores[0]), jnp.asarray(candidates[0]), int(counts[0]))
    np.testing.assert_array_equal(batched[0], eager)


def marks(select, scores, dtype, count):
    scores = jnp.asarray(scores, dtype)
    return jax.jit(select)(scores, jnp.ones(scores.shape, bool), count).astype(int).tolist()


def test_equal_scores_go_to_the_lowest_flat_index():
    scores = [[2, 1, 2], [2, 1, 1]]
    # Of the three 2s the first two in C order; of the three 1s likewise.
    assert marks(sparse.select_largest, scores, "float32", 2) == [[1, 0, 1], [0, 0, 0]]
    assert marks(sparse.select_smallest, scores, "float32", 2) == [[0, 1, 0], [0, 1, 0]]


def test_negative_zero_is_below_zero():
    assert marks(sparse.select_largest, [-0.0, 0.0], "float32", 1) == [0, 1]
    assert marks(sparse.select_smallest, [0.0, -0.0], "float32", 1) == [0, 1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_nan_is_above_infinity_whatever_its_sign_bit(dtype):
    # On x86, 0 / 0 is a NaN whose sign bit is set.
    nan = [np.inf, np.copysign(np.nan, -1), np.nan, -np.inf]
    assert marks(sparse.select_largest, nan, dtype, 2) == [0, 1, 1, 0]
    assert marks(sparse.select_smallest, nan, dtype, 2) == [1, 0, 0, 1]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_the_two_outermost_integers_differ(dtype):
    low, high = jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
    assert marks(sparse.select_largest, [high - 1, high], dtype, 1) == [0, 1]
    assert marks(sparse.select_smallest, [low + 1, low], dtype, 1) == [0, 1]
    assert marks(sparse.select_largest, [low, low + 1], dtype, 1) == [0, 1]
    assert marks(sparse.select_smallest, [high, high - 1], dtype, 1) == [0, 1]


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 127, 128, 10_000])
def test_count_true_counts(rng, n):
    count = jax.jit(sparse.count_true)
    for share in (0.0, 0.5, 1.0):
        some = rng.random(n) < share
        assert count(some) == some.sum()
    assert count(some).dtype == jnp.int32


@each_selection
def test_rejects_what_cannot_be_ordered(select, expected):
    del expected  # The reference accepts anything that Python can compare.
    with pytest.raises(ValueError, match=r"candidates .* shape of scores, \(2, 3\), got \(3, 2\)"):
        select(jnp.zeros((2, 3)), jnp.ones((3, 2), bool), 1)
    for dtype in ("uint32", "bool", "complex64"):
        with pytest.raises(TypeError, match=f"scores must be .*signed integers, got {dtype}"):
            select(jnp.zeros(3, dtype), jnp.ones(3, bool), 1)
