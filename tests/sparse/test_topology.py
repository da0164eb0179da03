"""Tests one layer's topology against `reference.py`, on random layers of every kind."""

import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from dsrl_jax.sparse.distribution import round_share
from dsrl_jax.sparse.rules import mark_dropped, score_growth
from dsrl_jax.sparse.topology import keep_largest_from
from tests import reference
from tests.sorting import sorts

# Shares at which rounding does not decide: of every count up to 140,000 their floors in float32
# (the code), in float64 and in decimals (the reference) are the same numbers.
FRACTIONS = [0.05, 0.1, 0.2, 0.25, 0.4, 0.5, 1.0]
SHAPES = [(1, 13), (11, 7)]
RULES = [pytest.param(sparse.PAPER, id="paper"), pytest.param(sparse.OFFICIAL, id="official")]

# What a kernel may look like, from normal draws `x`; half of "zeros" is 0, and half of that -0.0.
KERNELS = {
    "normal": lambda x: x,
    "ties": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "zeros": lambda x: x * (np.abs(x) > 0.67),
    "no negative": np.abs,
    "no positive": lambda x: -np.abs(x),
    "all zero": np.zeros_like,
}
# How many connections of `n` positions.
CONNECTIONS = {
    "none": lambda n: 0,
    "one": lambda n: 1,
    "sparse": lambda n: n // 4,
    "half": lambda n: n // 2,
    "crowded": lambda n: n - n // 10,  # too little room for large fractions
    "one empty": lambda n: n - 1,
    "full": lambda n: n,
}


@partial(jax.jit, static_argnames="rules")
def adapt(key, kernel, mask, drop_fraction, grow=True, *, rules=sparse.PAPER):
    """Everything is traced but the rules."""
    return sparse.drop_and_grow(key, kernel, mask, drop_fraction, rules=rules, grow=grow)


@partial(jax.jit, static_argnames="rules")
def adapt_batch(keys, kernels, masks, fractions, grow=True, *, rules):
    """One program for all cases of a shape."""
    one = lambda *case: sparse.drop_and_grow(*case, rules=rules, grow=grow)  # noqa: E731
    return jax.vmap(one)(keys, kernels, masks, fractions)


random_mask = jax.jit(sparse.random_mask, static_argnames=("shape", "exact"))
drop = jax.jit(mark_dropped, static_argnums=0)
keep_largest = jax.jit(sparse.keep_largest, static_argnames="ties")


def layers(rng, shape):
    """One layer of every kind of kernel and of mask; the kernel has values off its mask, too."""
    n = np.prod(shape)
    for make, connections in itertools.product(KERNELS.values(), CONNECTIONS.values()):
        kernel = make(rng.normal(size=shape)).astype(np.float32)
        yield kernel, rng.permutation(np.arange(n) < connections(n)).reshape(shape)


@functools.cache
def cases(shape):
    """Keys, kernels, masks and drop fractions, stacked: every kind of layer, every fraction."""
    rng = np.random.default_rng(0)
    kernels, masks = zip(*(layer for _ in FRACTIONS for layer in layers(rng, shape)), strict=True)
    fractions = np.repeat(np.float32(FRACTIONS), len(kernels) // len(FRACTIONS))
    keys = jax.random.split(jax.random.key(0), len(kernels))
    return keys, np.stack(kernels), np.stack(masks), fractions


def adapted_cases(shape, rules, grow=True):
    """(kernel, mask, new kernel, new mask, fraction) of every case."""
    keys, kernels, masks, fractions = cases(shape)
    changed = map(np.asarray, adapt_batch(keys, kernels, masks, fractions, grow, rules=rules))
    decimals = np.repeat(FRACTIONS, len(fractions) // len(FRACTIONS))
    return zip(kernels, masks, *changed, decimals, strict=True)


def signed_layer(rng, shape, *, positives, negatives, zeros=0):
    """A layer with so many connections of each sign, at random positions; no ties."""
    values = np.zeros(np.prod(shape), np.float32)
    values[:positives] = np.arange(1, positives + 1)
    values[positives : positives + negatives] = -np.arange(1, negatives + 1)
    mask = np.arange(values.size) < positives + negatives + zeros
    order = rng.permutation(values.size)
    return values[order].reshape(shape), mask[order].reshape(shape)


def counts_of(kernel, marks):
    """How many of the marked weights are zero, positive, negative."""
    return tuple(int((marks & side).sum()) for side in (kernel == 0, kernel > 0, kernel < 0))


# --- Drop and grow: the whole rule ---------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_paper_rules_adapt_as_the_reference(shape):
    for *layer, fraction in adapted_cases(shape, sparse.PAPER):
        reference.check_paper_adaptation(*layer, fraction)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_official_rules_adapt_as_the_reference(shape):
    for *layer, fraction in adapted_cases(shape, sparse.OFFICIAL):
        reference.check_official_adaptation(*layer, fraction)
    # The last change of topology drops without growing.
    for *layer, fraction in adapted_cases(shape, sparse.OFFICIAL, grow=False):
        reference.check_official_adaptation(*layer, fraction, final=True)


@pytest.mark.parametrize("rules", RULES)
def test_vmap_equals_a_loop(rules):
    every_seventh = [array[::7] for array in cases((11, 7))]
    looped = zip(*map(partial(adapt, rules=rules), *every_seventh), strict=True)
    for all_at_once, one_by_one in zip(
        adapt_batch(*cases((11, 7)), rules=rules), looped, strict=True
    ):
        np.testing.assert_array_equal(all_at_once[::7], one_by_one)


def test_adapts_a_whole_layer_as_the_reference(rng, key, random_layer):
    kernel, mask = random_layer(rng, 256, 256, density=0.5)
    changed = adapt(key, kernel, mask, 0.05)
    reference.check_paper_adaptation(kernel, mask, *changed, 0.05)


@pytest.mark.parametrize(
    "rules",
    [
        sparse.Rules("balanced", "empty_after_drop", "zero"),
        sparse.Rules("per_sign", "empty_before_drop", "stepped"),  # the room caps each sign
    ],
    ids=lambda rules: "-".join(rules[:3]),
)
def test_mixed_rules_conserve_connections(rules):
    for kernel, mask, new_kernel, new_mask, _ in adapted_cases((1, 13), rules):
        assert new_mask.sum() == mask.sum()
        assert not new_kernel[~new_mask].any()
        changed = new_mask & (new_kernel != kernel)
        assert not new_kernel[changed].any()


# --- Drop and grow: cases by hand ----------------------------------------------------------------


def test_paper_rules_on_a_layer_by_hand(variant, key):
    adapt = variant(sparse.drop_and_grow)
    kernel = np.float32([[5, -5, 1, -1, 2, -2, 0, 3, -3, -0.0, 4, 9, 7]])
    # floor(0.4 * 9) = 3 of the first nine leave: the zero, one of each sign. Three of the last
    # four come, with weight 0.
    mask = np.arange(13)[None] < 9
    new_kernel, new_mask = adapt(key, kernel, mask, 0.4)
    assert new_mask[0, :9].astype(int).tolist() == [1, 1, 0, 0, 1, 1, 0, 1, 1]
    assert new_mask[0, 9:].sum() == 3
    assert new_kernel.tolist() == [[5, -5, 0, 0, 2, -2, 0, 3, -3, 0, 0, 0, 0]]
    # floor(0.5 * 11) = 5 would leave, but only two places are empty: both zeros, -0.0 too.
    mask = np.arange(13)[None] < 11
    new_kernel, new_mask = adapt(key, kernel, mask, 0.5)
    assert new_mask.astype(int).tolist() == [[1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1]]
    assert new_kernel.tolist() == [[5, -5, 1, -1, 2, -2, 0, 3, -3, 0, 4, 0, 0]]


def test_balanced_drop_by_hand(rng):
    for zeros, positives, negatives, fraction, room, expected in [
        (0, 20, 20, 0.10, 99, (0, 2, 2)),  # c = 4: half of each sign
        (0, 20, 20, 0.125, 99, (0, 2, 3)),  # c = 5: 5 // 2 positive, the rest negative
        (3, 20, 17, 0.125, 99, (3, 1, 1)),  # zeros go first, inside c
        (9, 20, 11, 0.125, 99, (5, 0, 0)),  # more zeros than c
        (0, 1, 39, 0.25, 99, (0, 1, 9)),  # c = 10, one positive: the negative ones give 9
        (0, 39, 1, 0.25, 99, (0, 9, 1)),
        (0, 40, 0, 0.25, 99, (0, 10, 0)),
        (2, 0, 38, 0.25, 99, (2, 0, 8)),
        (0, 20, 20, 0.25, 7, (0, 3, 4)),  # c = 10, capped by the room
        (0, 20, 20, 1.00, 99, (0, 20, 20)),
        (0, 20, 20, 0.02, 99, (0, 0, 0)),  # c = floor(0.8)
        (0, 0, 0, 1.00, 99, (0, 0, 0)),
    ]:
        sides = dict(zeros=zeros, positives=positives, negatives=negatives)
        kernel, mask = signed_layer(rng, (1000,), **sides)
        dropped = drop(sparse.PAPER, kernel, mask, fraction, room)
        assert counts_of(kernel, dropped) == expected, (sides, fraction, room)
        assert reference.balanced_counts(zeros, positives, negatives, fraction, room) == expected


@pytest.mark.parametrize(
    "shape, sides, expected",
    [
        # FACTS.md, golden cases: floor(.05 * 19343) + 1, 13588 - floor(.95 * 13588).
        ((256, 256), dict(positives=19_343, negatives=13_588), (0, 968, 680)),
        ((11, 7), dict(positives=20, negatives=20), (0, 2, 1)),
        # All weights that are exactly 0 leave, too.
        ((11, 7), dict(positives=20, negatives=20, zeros=11), (11, 2, 1)),
    ],
)
def test_official_drop_golden_cases(rng, key, shape, sides, expected):
    kernel, mask = signed_layer(rng, shape, **sides)
    change = partial(adapt, key, kernel, mask, 0.05, rules=sparse.OFFICIAL)
    _, left = change(grow=False)
    _, regrown = change(grow=True)
    assert counts_of(kernel, mask & ~left) == expected
    assert (regrown & ~left).sum() == sum(expected)  # 1,648 in the large layer
    assert (left & ~regrown).sum() == 0


def test_a_static_drop_fraction_drops_as_many_as_a_traced_one(rng):
    kernel, mask = signed_layer(rng, (11, 7), positives=20, negatives=20)
    # 1 - 0.05 is formed in double precision here, in single precision in the golden cases.
    static = partial(mark_dropped, sparse.OFFICIAL, drop_fraction=0.05, room=77)
    assert counts_of(kernel, jax.jit(static)(kernel, mask)) == (0, 2, 1)


def test_floor_of_a_share_is_that_of_the_decimal():
    # 0.7 of 10 is 7, though no binary float is 0.7. Twentieths of counts where the share is whole,
    # or just below. Not 0.65: the float32 nearest to it gives 116 of 180.
    fractions = [twentieth / 20 for twentieth in range(21) if twentieth != 13]
    counts = [*range(0, 201, 5), *range(19, 200, 20), 500, 999, 1000]
    pairs = list(itertools.product(fractions, counts))
    all_fractions, all_counts = (np.array(column) for column in zip(*pairs, strict=True))
    masks = np.arange(1000) < all_counts[:, None]
    each = jax.vmap(partial(mark_dropped, sparse.PAPER, jnp.ones(1000)), (0, 0, None))
    dropped = jax.jit(each)(masks, np.float32(all_fractions), 1000).sum(axis=1)
    expected = [reference.floor_of_share(*pair) for pair in pairs]
    np.testing.assert_array_equal(dropped, expected)


@pytest.mark.parametrize("grow", [True, False])
@pytest.mark.parametrize("rules", RULES)
def test_drop_fraction_zero_is_the_identity(rules, grow):
    # Also by the official rules, which otherwise drop one more positive weight and all zeros.
    for shape in SHAPES:
        keys, kernels, masks, fractions = cases(shape)
        new_kernels, new_masks = adapt_batch(
            keys, kernels, masks, np.zeros_like(fractions), grow, rules=rules
        )
        np.testing.assert_array_equal(new_masks, masks)
        np.testing.assert_array_equal(new_kernels, np.where(masks, kernels, 0))


@pytest.mark.parametrize("rules", RULES)
def test_a_full_layer_stays_as_it_is(rng, key, rules):
    # The paper's rules have no room. By the official ones everything that they drop grows again at
    # once, and keeps its value.
    kernel = rng.normal(size=(11, 7)).astype(np.float32)
    full = np.ones(kernel.shape, bool)
    new_kernel, new_mask = adapt(key, kernel, full, 0.5, rules=rules)
    assert new_mask.all()
    np.testing.assert_array_equal(new_kernel, kernel)


def test_half_precision_kernels_stay_half(rng, key):
    kernel, mask = signed_layer(rng, (11, 7), positives=20, negatives=12)
    kernel = kernel.astype(jnp.bfloat16)  # whole numbers up to 20: exact
    kept = keep_largest(kernel, 5)
    np.testing.assert_array_equal(kept, reference.keep_largest(kernel, 5))
    assert kept.dtype == jnp.bfloat16
    for rules in (sparse.PAPER, sparse.OFFICIAL):
        change = partial(sparse.drop_and_grow, rules=rules)
        new_kernel, new_mask = jax.eval_shape(change, key, kernel, mask, 0.25)
        assert (new_kernel.dtype, new_mask.dtype) == (jnp.bfloat16, bool)


# --- Growth: where -------------------------------------------------------------------------------


def test_every_subset_is_equally_likely(key):
    candidates = jnp.array([[1, 0, 1], [1, 1, 1]], bool)
    draws = 20_000

    def select(key):
        scores = score_growth(sparse.PAPER, key, candidates.shape)
        return sparse.select_largest(scores, candidates, 2)

    marks = np.asarray(jax.jit(jax.vmap(select))(jax.random.split(key, draws)))

    assert (marks.sum(axis=(1, 2)) == 2).all() and not marks[:, 0, 1].any()
    subsets, times = np.unique(marks.reshape(draws, 6), axis=0, return_counts=True)
    assert len(subsets) == 10  # 5 choose 2
    chi_square = ((times - draws / 10) ** 2 / (draws / 10)).sum()
    assert chi_square < 34  # exceeded once in 10,000 seeds, with 9 degrees of freedom


@pytest.mark.parametrize("rules", RULES)
def test_growth_is_uniform_among_the_empty_positions(rng, key, rules):
    kernel, mask = signed_layer(rng, (11, 7), positives=20, negatives=20)
    _, left = map(np.asarray, adapt(key, kernel, mask, 0.1, grow=False, rules=rules))
    # Paper: floor(4.0) for the 37 empty positions. Official: floor(2.0) + 1 positive ones and
    # 20 - floor(18.0) negative ones, for these 37 and the 5 just dropped.
    n_grown, candidates = (4, ~mask) if rules == sparse.PAPER else (5, ~left)

    batch = len(FRACTIONS) * len(KERNELS) * len(CONNECTIONS)  # of all `cases`: one program
    layer = [np.stack([array] * batch) for array in (kernel, mask, np.float32(0.1))]
    keys = [jax.random.split(jax.random.fold_in(key, number), batch) for number in range(70)]
    new_masks = np.concatenate([adapt_batch(some, *layer, rules=rules)[1] for some in keys])

    grown = new_masks & ~left
    assert (grown.sum(axis=(1, 2)) == n_grown).all()
    times, draws, share = grown.sum(axis=0), len(grown), n_grown / candidates.sum()
    assert not times[~candidates].any()
    five_sigma = 5 * np.sqrt(draws * share * (1 - share))
    assert (np.abs(times[candidates] - draws * share) < five_sigma).all()


# --- Maintain sparsity ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ties, expected",
    [("exact", reference.keep_largest), ("strict", reference.keep_largest_strict)],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_keeps_the_largest_as_the_reference(rng, ties, expected, shape):
    pairs = []
    for kernel, _ in layers(rng, shape):
        some = np.count_nonzero(kernel)
        counts = 0, 1, some // 2, max(some - 1, 0), some, some + 1, kernel.size
        pairs += [(kernel, count) for count in counts]
    kernels, counts = map(np.stack, zip(*pairs, strict=True))
    kept = jax.jit(jax.vmap(partial(sparse.keep_largest, ties=ties)))(kernels, counts)
    np.testing.assert_array_equal(kept, [expected(*pair) for pair in pairs])


def test_keep_largest_by_hand():
    kernel = np.float32([[3, -1, 1, 0, -3, 1, 2, 0, 0, 0, 0, 0, 0]])
    # Three magnitudes above 1; of the three that are 1, the first in order fills the fourth place.
    assert keep_largest(kernel, 4)[0, :7].tolist() == [3, -1, 0, 0, -3, 0, 2]
    assert keep_largest(kernel, 4, ties="strict")[0, :7].tolist() == [3, 0, 0, 0, -3, 0, 2]
    for ties in ("exact", "strict"):
        assert keep_largest(kernel, 6, ties=ties).tolist() == kernel.tolist()


@pytest.mark.parametrize("ties", ["exact", "strict"])
def test_vmap_of_keep_largest_equals_a_loop(rng, ties):
    kernels = np.stack([kernel for kernel, _ in layers(rng, (11, 7))][::4])
    counts = rng.integers(0, 77, size=len(kernels))
    keep = partial(sparse.keep_largest, ties=ties)
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(keep))(kernels, counts),
        list(map(partial(keep_largest, ties=ties), kernels, counts.tolist())),
    )


@pytest.mark.parametrize("ties", ["exact", "strict"])
def test_the_derivative_of_keep_largest_is_that_of_a_select(rng, ties):
    kernel, slopes = rng.normal(size=(2, 8, 9)).astype(np.float32)
    gradient = jax.grad(lambda kernel: (slopes * sparse.keep_largest(kernel, 20, ties=ties)).sum())
    kept = keep_largest(kernel, 20, ties=ties) != 0
    np.testing.assert_array_equal(gradient(kernel), np.where(kept, slopes, 0))


@pytest.mark.parametrize("ties", ["exact", "strict"])
def test_nan_in_a_target_stays(ties):
    """NaN counts as larger than infinity, so that a target that diverged does not look healthy."""
    kernel = jnp.array([1.0, 2.0, jnp.nan, 3.0, 0.5])
    kept = sparse.keep_largest(kernel, 3, ties=ties)
    np.testing.assert_array_equal(kept, [0.0, 2.0, jnp.nan, 3.0, 0.0])


def test_nothing_sorts(key):
    arguments = key, jnp.zeros((256, 256)), jnp.ones((256, 256), bool), jnp.float32(0.05)
    for function in [
        sparse.drop_and_grow,
        partial(sparse.drop_and_grow, rules=sparse.OFFICIAL),
        lambda key, kernel, mask, _: sparse.keep_largest(kernel, sparse.count_true(mask)),
        lambda key, kernel, mask, _: sparse.keep_largest(kernel, 9, ties="strict"),
        lambda key, kernel, mask, share: sparse.random_mask(key, mask.shape, share, exact=True),
        lambda key, kernel, mask, guess: keep_largest_from(guess, kernel, 9),
    ]:
        assert not sorts(function, *arguments)
    # What it looks for is there in a program that sorts:
    assert sorts(lambda key, kernel, mask, _: jnp.sort(kernel), *arguments)
    assert sorts(lambda key, kernel, mask, _: jax.lax.top_k(kernel, 9), *arguments)


# --- First topology ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n_in, n_out, lam, density",
    [
        (17, 256, 7, 7 * 273 / 4352),  # HalfCheetah's first layer: .4391
        (256, 256, 64, 0.5),  # 64 * 512 / 65536
        (27, 256, 40, 1.0),  # Ant with 27 observations: 1.638, clipped
        (1, 1, 0.25, 0.5),
    ],
)
def test_erdos_renyi_density(n_in, n_out, lam, density):
    assert sparse.erdos_renyi_density(n_in, n_out, lam) == pytest.approx(density)
    assert sparse.erdos_renyi_density(n_in, n_out, lam) == reference.density(n_in, n_out, lam)
    traced = jax.jit(partial(sparse.erdos_renyi_density, n_in, n_out))(lam)
    assert traced == pytest.approx(density)


@pytest.mark.parametrize("exact", [False, True], ids=["bernoulli", "exact"])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 0.937, 1.0])
def test_random_mask_has_the_density(key, density, exact):
    masks = np.stack(
        [random_mask(one, (40, 50), density, exact=exact) for one in jax.random.split(key, 8)]
    )
    connections = masks.sum(axis=(1, 2))
    if exact or density in (0, 1):
        assert (connections == round(density * 2000)).all()
    else:
        five_sigma = 5 * np.sqrt(masks.size * density * (1 - density))
        assert abs(masks.sum() - density * masks.size) < five_sigma
        assert connections.std() > 0  # a binomial count, not a fixed one
    assert (masks[0] != masks[1]).any() == (0 < density < 1)


# --- Errors: the argument's name, what it got, what is allowed -----------------------------------


@pytest.mark.parametrize("drop_fraction", [-0.01, 1.01, np.nan, np.float32(2), jnp.float32(-1)])
def test_rejects_a_drop_fraction_outside_0_to_1(key, drop_fraction):
    with pytest.raises(ValueError, match=rf"drop_fraction .*\[0, 1\], got {drop_fraction}"):
        sparse.drop_and_grow(key, jnp.ones(3), jnp.ones(3, bool), drop_fraction)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("density", [-0.01, 1.01, np.nan, np.float32(2), jnp.float32(-1)])
def test_rejects_a_density_outside_0_to_1(key, density, exact):
    with pytest.raises(ValueError, match=rf"density .*\[0, 1\], got {density}"):
        sparse.random_mask(key, (3, 4), density, exact=exact)


def test_rejects_a_mask_of_another_shape(key):
    message = r"mask must have the kernel's shape, \(3, 4\), got \(4, 3\)"
    with pytest.raises(ValueError, match=message):
        sparse.drop_and_grow(key, jnp.ones((3, 4)), jnp.ones((4, 3), bool), 0.1)


def test_rejects_a_gradient_of_another_shape(key):
    kernel, mask = jnp.ones((3, 4)), jnp.ones((3, 4), bool)
    with pytest.raises(AssertionError, match=r"\(4, 3\)"):
        sparse.drop_and_grow(key, kernel, mask, 0.1, rules=sparse.RIGL, gradient=jnp.ones((4, 3)))


@pytest.mark.parametrize(
    "n_in, n_out, message",
    [(0, 4, "n_in must be positive, got 0"), (3, -1, "n_out must be positive, got -1")],
)
def test_rejects_an_empty_layer(n_in, n_out, message):
    for lam in (7, jnp.float32(7)):
        with pytest.raises(ValueError, match=message):
            sparse.erdos_renyi_density(n_in, n_out, lam)


@pytest.mark.parametrize("lam", [0, -0.5, np.nan, np.float32(-1), jnp.float32(-1)])
def test_rejects_a_lambda_that_is_not_positive(lam):
    with pytest.raises(ValueError, match=f"lam must be positive, got {lam}"):
        sparse.erdos_renyi_density(3, 4, lam)


@pytest.mark.parametrize("rules", RULES)
def test_no_dtype_is_promoted_by_chance(key, rng, rules):
    kernel = jnp.asarray(rng.normal(size=(6, 5)), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        mask = sparse.random_mask(key, kernel.shape, 0.5, exact=True)
        new_kernel, new_mask = sparse.drop_and_grow(key, kernel, mask, 0.4, rules=rules)
        target = sparse.keep_largest(new_kernel, mask.sum(), ties="strict")
    assert new_mask.sum() == mask.sum() == 15
    assert target.dtype == new_kernel.dtype == jnp.float32


def test_a_share_of_more_weights_than_float32_counts_is_exact():
    size = 2**25 + 4  # (size - 1) / size of them is an odd number above 2^24
    assert round_share((size - 1) / size, size) == size - 1
    assert jax.jit(round_share, static_argnums=1)(0.3, 10) == 3
