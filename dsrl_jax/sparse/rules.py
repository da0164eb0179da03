"""Which connections leave a layer and which come, as small functions that combine.

A drop rule marks connections to go, a grow rule marks empty places to fill; `Rules` names one of
each. `topology.drop_and_grow` applies them to one kernel.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from dsrl_jax.sparse.groups import Groups
from dsrl_jax.sparse.numbers import check_choice
from dsrl_jax.sparse.selection import count_true, select_largest, select_smallest

DropName = Literal["balanced", "per_sign", "magnitude", "sensitivity", "nothing"]
# (kernel, mask, drop_fraction, room, gradient) -> marks, at most `room` of them, all in the mask.
DropFunction = Callable[[Array, Array, float | Array, int | Array, Array | None], Array]
GrowRule = Literal["empty_before_drop", "empty_after_drop"]
GrowBy = Literal["random", "gradient", "momentum"]
GrownWeight = Literal["zero", "stepped"]


class Rules(NamedTuple):
    """How a topology adapts; the defaults are those of the paper's text.

    Attributes:
      drop: which connections leave. "balanced": `drop_balanced`; "per_sign": `drop_per_sign`;
        "magnitude": `drop_smallest`; "sensitivity": `drop_insensitive`; "nothing": none, so that
        the topology is static. Or a function with the arguments of these, to be traced.
      grow: where connections may appear: positions empty before the drop, or after it, which
        lets a connection that was just dropped come back.
      grown_weight: "zero", or "stepped": what the kernel that was handed in holds there.
      grow_by: which of them: any at random, or those of the largest gradient or momentum.
      groups: a constraint on where connections may be, see `groups.py`; None: anywhere.
    """

    drop: DropName | DropFunction = "balanced"
    grow: GrowRule = "empty_before_drop"
    grown_weight: GrownWeight = "zero"
    grow_by: GrowBy = "random"
    groups: Groups | None = None


PAPER = Rules()
OFFICIAL = Rules(drop="per_sign", grow="empty_after_drop", grown_weight="stepped")
STATIC = Rules(drop="nothing")
# SET, Mocanu et al. 2018, as Evci et al. 2020 (Table 1) state it; by sign it is PAPER.
SET = Rules(drop="magnitude")
# RigL, Evci et al. 2020, Algorithm 1: the k largest gradients outside what stays active, so that
# a connection that was just dropped may come back, with weight 0.
RIGL = Rules(drop="magnitude", grow="empty_after_drop", grow_by="gradient")
# SNFS, Dettmers & Zettlemoyer 2019, within each layer: no connections move between layers.
SNFS = Rules(drop="magnitude", grow_by="momentum")


def check_rules(rules: Rules) -> None:
    """Raises ValueError for a name that is none of those allowed."""
    if not callable(rules.drop):
        check_choice("rules.drop", rules.drop, DropName)
    check_choice("rules.grow", rules.grow, GrowRule)
    check_choice("rules.grown_weight", rules.grown_weight, GrownWeight)
    check_choice("rules.grow_by", rules.grow_by, GrowBy)


def drop_nothing(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
    gradient: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """No connection: the topology is static."""
    del kernel, drop_fraction, room, gradient  # Whatever they are, all stay.
    return jnp.zeros_like(mask)


def drop_smallest(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
    gradient: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """The floor(η connections) of smallest magnitude, at most `room` (RigL, Algorithm 1)."""
    del gradient  # The weights alone decide.
    count = jnp.minimum(_floor_share(drop_fraction, count_true(mask)), room)
    return select_smallest(jnp.abs(kernel), mask, count)


def drop_insensitive(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
    gradient: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """The floor(η connections) of smallest absolute weight x gradient, at most `room`.

    To first order, what the loss changes by if the weight becomes 0 (Molchanov et al. 2017, eq.
    7; SNIP, Lee et al. 2019, eq. 6). The product is rounded in float32 at least.

    Raises:
      ValueError: without a gradient.
    """
    if gradient is None:
        raise ValueError("rules.drop 'sensitivity' needs the kernel's gradient, got none")
    wide = jnp.promote_types(kernel.dtype, jnp.float32)
    sensitivity = jnp.abs(kernel.astype(wide) * gradient.astype(wide))
    count = jnp.minimum(_floor_share(drop_fraction, count_true(mask)), room)
    return select_smallest(sensitivity, mask, count)


def drop_balanced(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
    gradient: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """The connections to drop by the paper's text (Algorithm 2, lines 1 to 5; eq. 4).

    c = floor(η connections), at most `room`. Connections that are exactly 0 go first: eq. (4)
    read literally would keep a connection without a gradient for ever. Of the rest, half (rounded
    down) are the smallest positive weights and the others the negative ones nearest zero; a side
    with too few leaves the rest to the other.
    """
    del gradient  # The weights alone decide.
    sides, (n_zero, n_positive, n_negative) = _sides(kernel, mask)
    count = jnp.minimum(_floor_share(drop_fraction, count_true(mask)), room)
    drop_zero = jnp.minimum(count, n_zero)
    rest = count - drop_zero
    drop_negative = jnp.minimum(rest - jnp.minimum(rest // 2, n_positive), n_negative)
    drop_positive = rest - drop_negative
    return _weakest(kernel, sides, (drop_zero, drop_positive, drop_negative))


def drop_per_sign(
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
    gradient: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """The connections to drop by the authors' code: η of each sign, and whatever is exactly 0.

    floor(η positives) + 1 of the positive weights and negatives - floor((1 - η) negatives) of
    the negative ones, at most `room` in all. Where η is 0 none, as by every rule: it is how a
    network that shares a program with others stays as it is.
    """
    del gradient  # The weights alone decide.
    room = jnp.where(jnp.asarray(drop_fraction) > 0, room, 0)
    sides, (n_zero, n_positive, n_negative) = _sides(kernel, mask)
    drop_zero = jnp.minimum(n_zero, room)
    share_positive = jnp.minimum(_floor_share(drop_fraction, n_positive) + 1, n_positive)
    drop_positive = jnp.minimum(share_positive, room - drop_zero)
    share_negative = n_negative - _floor_share(1 - drop_fraction, n_negative)
    drop_negative = jnp.minimum(share_negative, room - drop_zero - drop_positive)
    return _weakest(kernel, sides, (drop_zero, drop_positive, drop_negative))


DROP_RULES: dict[str, DropFunction] = {
    "balanced": drop_balanced,
    "per_sign": drop_per_sign,
    "magnitude": drop_smallest,
    "sensitivity": drop_insensitive,
    "nothing": drop_nothing,
}


def select_random(
    key: PRNGKeyArray, candidates: Bool[Array, "*shape"], count: int | Int[Array, ""]
) -> Bool[Array, "*shape"]:
    """Marks exactly `min(count, candidates.sum())` candidates, every subset equally likely.

    Up to ties between 31-bit random numbers, which fall to the lower flat index.
    """
    scores = jax.random.bits(key, candidates.shape, jnp.uint32) >> 1
    return select_largest(scores.astype(jnp.int32), candidates, count)


def grow_random(
    key: PRNGKeyArray,
    candidates: Bool[Array, "*shape"],
    count: int | Int[Array, ""],
    signal: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """`count` of the candidates, every subset equally likely (SET; Algorithm 2, line 6)."""
    del signal
    return select_random(key, candidates, count)


def grow_strongest(
    key: PRNGKeyArray,
    candidates: Bool[Array, "*shape"],
    count: int | Int[Array, ""],
    signal: Float[Array, "*shape"],
) -> Bool[Array, "*shape"]:
    """The `count` candidates of largest absolute signal: gradient (RigL) or momentum (SNFS)."""
    del key  # Nothing is drawn; equal signals fall to the lowest flat index.
    return select_largest(jnp.abs(signal), candidates, count)


def _sides(kernel: Array, mask: Array) -> tuple[Array, Array]:
    """Connections that are 0, positive and negative, [3, *shape]; and how many of each."""
    sides = jnp.stack([mask & (kernel == 0), mask & (kernel > 0), mask & (kernel < 0)])
    return sides, jax.vmap(count_true)(sides)


def _weakest(kernel: Array, sides: Array, counts: tuple[Array, ...]) -> Array:
    """The smallest magnitudes of each side. In one search for all, which compiles sooner."""
    select = jax.vmap(select_smallest, (None, 0, 0))
    return select(jnp.abs(kernel), sides, jnp.stack(counts)).any(axis=0)


def _floor_share(fraction: float | Array, count: Array) -> Array:
    """floor(fraction * count) in float32: its rounding makes 0.7 of 10 seven, as it should be."""
    return jnp.floor(jnp.float32(fraction) * count.astype(jnp.float32)).astype(jnp.int32)
