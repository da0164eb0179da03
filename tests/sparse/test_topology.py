"""The laws of one layer's topology, held to `reference.py` on random layers of every kind."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrl_jax import sparse
from tests import reference

# Shares at which rounding does not decide: their floors in float32 (the code), in float64 and in
# decimals (the reference) are the same numbers for every layer here.
FRACTIONS = [0.05, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0]
SHAPES = [(1, 1), (1, 40), (17, 9)]

# What a kernel may look like, from normal draws `x`; half of "zeros" is 0, and some of it -0.0.
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


def layers(rng, shape):
    """One layer of every kind of kernel and of mask; the kernel has values off its mask, too."""
    n = np.prod(shape)
    for make, connections in itertools.product(KERNELS.values(), CONNECTIONS.values()):
        kernel = make(rng.normal(size=shape)).astype(np.float32)
        yield kernel, rng.permutation(np.arange(n) < connections(n)).reshape(shape)


def adaptations(rng, key, shape, **settings):
    """(kernel, mask, new kernel, new mask, drop fraction) for every kind of layer."""
    # Everything but the shape is traced: one program for all cases.
    change = jax.jit(partial(sparse.drop_and_grow, **settings))
    for fraction in FRACTIONS:
        for number, (kernel, mask) in enumerate(layers(rng, shape)):
            changed = change(jax.random.fold_in(key, number), kernel, mask, np.float32(fraction))
            yield kernel, mask, *map(np.asarray, changed), fraction


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
def test_paper_rules_adapt_as_the_reference(rng, key, shape):
    for case in adaptations(rng, key, shape, rules=sparse.PAPER):
        reference.check_paper_adaptation(*case)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_official_rules_adapt_as_the_reference(rng, key, shape):
    for case in adaptations(rng, key, shape, rules=sparse.OFFICIAL):
        reference.check_official_adaptation(*case)


def test_official_last_change_drops_without_growing(rng, key):
    for case in adaptations(rng, key, (17, 9), rules=sparse.OFFICIAL, grow=False):
        reference.check_official_adaptation(*case, final=True)


def test_adapts_a_whole_layer_as_the_reference(rng, key, random_layer):
    kernel, mask = random_layer(rng, 256, 256, density=0.5)
    changed = jax.jit(sparse.drop_and_grow)(key, kernel, mask, 0.05)
    reference.check_paper_adaptation(kernel, mask, *changed, 0.05)


@pytest.mark.parametrize("drop", ["balanced", "per_sign"])
@pytest.mark.parametrize("grow", ["empty_before_drop", "empty_after_drop"])
@pytest.mark.parametrize("grown_weight", ["zero", "stepped"])
def test_any_mixture_of_rules_conserves_connections(rng, key, drop, grow, grown_weight):
    rules = sparse.Rules(drop, grow, grown_weight)
    for kernel, mask, new_kernel, new_mask, _ in adaptations(rng, key, (1, 40), rules=rules):
        assert new_mask.sum() == mask.sum()
        assert not new_kernel[~new_mask].any()
        kept = mask & new_mask & (new_kernel != 0)
        np.testing.assert_array_equal(new_kernel[kept], kernel[kept])


def test_whether_to_grow_may_be_traced(rng, key, random_layer):
    kernel, mask = random_layer(rng, 17, 9, density=0.4)
    for rules in (sparse.PAPER, sparse.OFFICIAL):
        change = partial(sparse.drop_and_grow, key, kernel, mask, 0.3, rules=rules)
        jitted = jax.jit(lambda grow, change=change: change(grow=grow))
        for grow in (False, True):
            jax.tree.map(np.testing.assert_array_equal, jitted(grow), change(grow=grow))


# --- Drop and grow: cases by hand ----------------------------------------------------------------


def test_paper_rules_on_a_layer_by_hand(key):
    kernel = [[5, -5, 1, -1], [2, -2, 0, 9], [3, -3, -0.0, 7]]
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]], bool)
    # c = floor(0.5 * 10) = 5, but only 2 positions are empty, so 2 leave: both zeros.
    new_kernel, new_mask = sparse.drop_and_grow(key, jnp.array(kernel), mask, 0.5)
    assert new_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 0, 1]]
    assert new_kernel.tolist() == [[5, -5, 1, -1], [2, -2, 0, 0], [3, -3, 0, 0]]


@pytest.mark.parametrize(
    "zeros, positives, negatives, fraction, room, dropped",
    [
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
    ],
)
def test_balanced_drop_by_hand(rng, zeros, positives, negatives, fraction, room, dropped):
    sides = dict(positives=positives, negatives=negatives, zeros=zeros)
    kernel, mask = signed_layer(rng, (8, 9), **sides)
    assert counts_of(kernel, sparse.drop_balanced(kernel, mask, fraction, room)) == dropped
    assert reference.balanced_counts(zeros, positives, negatives, fraction, room) == dropped


@pytest.mark.parametrize(
    "shape, positives, negatives, dropped",
    [
        ((256, 256), 19_343, 13_588, (0, 968, 680)),  # FACTS.md, golden cases
        ((8, 8), 20, 20, (0, 2, 1)),
    ],
)
def test_official_drop_golden_cases(rng, key, shape, positives, negatives, dropped):
    kernel, mask = signed_layer(rng, shape, positives=positives, negatives=negatives)
    for fraction in (0.05, np.float32(0.05)):
        marks = np.asarray(sparse.drop_per_sign(kernel, mask, fraction, kernel.size))
        assert counts_of(kernel, marks) == dropped

    change = partial(sparse.drop_and_grow, key, kernel, mask, 0.05, rules=sparse.OFFICIAL)
    _, without_growth = change(grow=False)
    np.testing.assert_array_equal(without_growth, mask & ~marks)
    _, new_mask = change()
    grown = np.asarray(new_mask) & ~(mask & ~marks)
    assert grown.sum() == sum(dropped)  # 1,648 of the large layer


def test_official_drop_takes_every_zero_on_top_of_its_share(rng):
    kernel, mask = signed_layer(rng, (8, 8), positives=20, negatives=20, zeros=11)
    assert counts_of(kernel, sparse.drop_per_sign(kernel, mask, 0.05, 64)) == (11, 2, 1)


def test_floor_of_a_share_is_that_of_the_decimal(rng):
    # 0.7 of 10 is 7, though neither float32 nor float64 holds 0.7. All hundredths, with counts
    # that make whole shares of them, in a layer without zeros.
    fractions = [hundredth / 100 for hundredth in range(101)]
    counts = [*range(0, 201, 5), 400, 600, 1000]
    kernel = np.ones((40, 25), np.float32)

    def dropped(fraction, count):
        mask = (jnp.arange(kernel.size) < count).reshape(kernel.shape)
        return sparse.count_true(sparse.drop_balanced(kernel, mask, fraction, kernel.size))

    over_counts = jax.vmap(dropped, in_axes=(None, 0))
    table = jax.jit(jax.vmap(over_counts, in_axes=(0, None)))(
        np.float32(fractions), np.array(counts)
    )
    expected = [[reference.floor_of_share(f, count) for count in counts] for f in fractions]
    np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_drop_fraction_zero_is_the_identity(rng, key, shape):
    # Of the paper's rules: the official ones drop at least one positive weight and all zeros.
    change = jax.jit(sparse.drop_and_grow)
    for kernel, mask in layers(rng, shape):
        new_kernel, new_mask = change(key, kernel, mask, 0.0)
        np.testing.assert_array_equal(new_mask, mask)
        np.testing.assert_array_equal(new_kernel, np.where(mask, kernel, 0))


def test_a_full_layer_has_no_room_and_stays(rng, key):
    kernel = rng.normal(size=(6, 5)).astype(np.float32)
    full = np.ones(kernel.shape, bool)
    # The official rules find room where they just dropped; what returns keeps its value.
    for rules in (sparse.PAPER, sparse.OFFICIAL):
        new_kernel, new_mask = sparse.drop_and_grow(key, kernel, full, 0.5, rules=rules)
        assert new_mask.all()
        np.testing.assert_array_equal(new_kernel, kernel)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_kernel_keeps_its_type(rng, key, dtype):
    kernel, mask = signed_layer(rng, (8, 8), positives=20, negatives=12)
    kernel = kernel.astype(jnp.dtype(dtype))  # whole numbers up to 20: exact in all three
    for rules in (sparse.PAPER, sparse.OFFICIAL):
        new_kernel, new_mask = sparse.drop_and_grow(key, kernel, mask, 0.25, rules=rules)
        assert new_kernel.dtype == dtype
        assert new_mask.sum() == 32
    assert sparse.keep_largest(jnp.asarray(kernel), 5).dtype == dtype


def test_vmap_of_drop_and_grow_equals_a_loop(rng, key):
    kernels, masks = map(np.stack, zip(*layers(rng, (17, 9)), strict=True))
    keys = jax.random.split(key, len(kernels))
    fractions = rng.choice(np.float32(FRACTIONS), size=len(kernels))
    for rules in (sparse.PAPER, sparse.OFFICIAL):
        change = partial(sparse.drop_and_grow, rules=rules)
        batched = jax.jit(jax.vmap(change))(keys, kernels, masks, fractions)
        looped = zip(*map(jax.jit(change), keys, kernels, masks, fractions), strict=True)
        for all_at_once, one_by_one in zip(batched, looped, strict=True):
            np.testing.assert_array_equal(all_at_once, np.stack(one_by_one))


# --- Growth: where -------------------------------------------------------------------------------


def test_every_subset_is_equally_likely(key):
    candidates = jnp.array([[1, 0, 1], [1, 1, 1]], bool)
    draws = 20_000
    select = jax.vmap(partial(sparse.select_random, candidates=candidates, count=2))
    marks = np.asarray(select(jax.random.split(key, draws)))

    assert (marks.sum(axis=(1, 2)) == 2).all() and not marks[:, 0, 1].any()
    subsets, times = np.unique(marks.reshape(draws, 6), axis=0, return_counts=True)
    assert len(subsets) == 10  # 5 choose 2
    chi_square = ((times - draws / 10) ** 2 / (draws / 10)).sum()
    assert chi_square < 34  # exceeded once in 10,000 seeds, with 9 degrees of freedom


@pytest.mark.parametrize("rules", [sparse.PAPER, sparse.OFFICIAL], ids=["paper", "official"])
def test_growth_is_uniform_among_the_empty_positions(rng, key, rules):
    kernel, mask = signed_layer(rng, (5, 6), positives=10, negatives=10)
    dropped = np.asarray(
        sparse.drop_balanced(kernel, mask, 0.25, 30)
        if rules is sparse.PAPER
        else sparse.drop_per_sign(kernel, mask, 0.25, 30)
    )
    # Paper: 5 of 20 connections leave, for 10 positions. Official: floor(2.5) + 1 positive ones
    # and 10 - floor(7.5) negative ones, for these 10 positions and the 6 that were just left.
    n_grown, candidates = (5, ~mask) if rules is sparse.PAPER else (6, ~mask | dropped)
    assert dropped.sum() == n_grown

    draws = 20_000
    change = partial(
        sparse.drop_and_grow, kernel=kernel, mask=mask, drop_fraction=0.25, rules=rules
    )
    _, new_masks = jax.jit(jax.vmap(change))(jax.random.split(key, draws))

    times = (np.asarray(new_masks) & ~(mask & ~dropped)).sum(axis=0)
    assert not times[~candidates].any()
    share = n_grown / candidates.sum()
    five_sigma = 5 * np.sqrt(draws * share * (1 - share))
    assert (np.abs(times[candidates] - draws * share) < five_sigma).all()


def test_official_growth_keeps_what_the_optimizer_made_of_a_weight(rng, key):
    kernel = rng.normal(size=(8, 8)).astype(np.float32)  # stepped off 0 everywhere
    mask = rng.random(kernel.shape) < 0.5
    new_kernel, new_mask = sparse.drop_and_grow(key, kernel, mask, 0.3, rules=sparse.OFFICIAL)
    assert (np.asarray(new_mask) & ~mask).any()
    np.testing.assert_array_equal(new_kernel, np.where(new_mask, kernel, 0))


# --- Maintain sparsity ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ties, expected",
    [("exact", reference.keep_largest), ("strict", reference.keep_largest_strict)],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_keeps_the_largest_as_the_reference(rng, ties, expected, shape):
    keep = jax.jit(partial(sparse.keep_largest, ties=ties))
    for kernel, _ in layers(rng, shape):
        nonzero = np.count_nonzero(kernel)
        for count in {0, 1, nonzero // 2, nonzero - 1, nonzero, nonzero + 1, kernel.size}:
            if count >= 0:
                np.testing.assert_array_equal(keep(kernel, count), expected(kernel, count))


def test_keep_largest_by_hand():
    kernel = jnp.array([3.0, -1.0, 1.0, 0.0, -3.0, 1.0, 2.0])
    # Three magnitudes above 1; of the three that are 1, the first in order fills the fourth place.
    assert sparse.keep_largest(kernel, 4).tolist() == [3, -1, 0, 0, -3, 0, 2]
    assert sparse.keep_largest(kernel, 4, ties="strict").tolist() == [3, 0, 0, 0, -3, 0, 2]
    assert sparse.keep_largest(kernel, 6).tolist() == kernel.tolist()
    assert sparse.keep_largest(kernel, 6, ties="strict").tolist() == kernel.tolist()


def test_vmap_of_keep_largest_equals_a_loop(rng):
    kernels = np.stack([kernel for kernel, _ in layers(rng, (17, 9))])
    counts = rng.integers(0, 153, size=len(kernels))
    for ties in ("exact", "strict"):
        keep = partial(sparse.keep_largest, ties=ties)
        batched = jax.jit(jax.vmap(keep))(kernels, counts)
        np.testing.assert_array_equal(batched, np.stack(list(map(jax.jit(keep), kernels, counts))))


@pytest.mark.parametrize(
    "function",
    [
        lambda key, kernel, mask: sparse.keep_largest(kernel, sparse.count_true(mask)),
        lambda key, kernel, mask: sparse.keep_largest(kernel, 9, ties="strict"),
        lambda key, kernel, mask: sparse.drop_and_grow(key, kernel, mask, 0.05),
        lambda key, kernel, mask: sparse.drop_and_grow(
            key, kernel, mask, 0.05, rules=sparse.OFFICIAL
        ),
        lambda key, kernel, mask: sparse.random_mask(key, mask.shape, 0.5, exact=True),
    ],
    ids=["keep exact", "keep strict", "adapt paper", "adapt official", "random mask"],
)
def test_nothing_sorts(key, function):
    arguments = key, jnp.zeros((256, 256)), jnp.ones((256, 256), bool)
    assert not sorts(function, arguments)
    # What it looks for would be there:
    assert sorts(lambda key, kernel, mask: jnp.sort(kernel), arguments)
    assert sorts(lambda key, kernel, mask: jax.lax.top_k(kernel, 9), arguments)


def sorts(function, arguments):
    traced = jax.jit(function).trace(*arguments)
    program = f"{traced.jaxpr}\n{traced.lower().as_text()}"
    return "sort" in program or "top_k" in program


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


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 0.937, 1.0])
def test_random_mask_has_the_density(key, density):
    shape = (40, 50)
    for exact, draw in itertools.product(
        (False, True),
        (sparse.random_mask, jax.jit(sparse.random_mask, static_argnames=("shape", "exact"))),
    ):
        masks = [
            draw(jax.random.fold_in(key, number), shape=shape, density=density, exact=exact)
            for number in range(5)
        ]
        connections = np.array([mask.sum() for mask in masks])
        if exact or density in (0, 1):
            assert (connections == round(density * 2000)).all()
        else:
            five_sigma = 5 * np.sqrt(5 * 2000 * density * (1 - density))
            assert abs(connections.sum() - 5 * 2000 * density) < five_sigma
            assert len(set(connections.tolist())) > 1  # a binomial count, not a fixed one
        if 0 < density < 1:
            assert (masks[0] != masks[1]).any()


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
