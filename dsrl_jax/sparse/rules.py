"""Drop and grow rules, as scores.

A drop rule scores the connections; the smallest scores leave first, and the rule counts how many
leave. A grow rule scores the empty positions; the largest scores grow first. `Rules` names one of
each, and `topology.drop_and_grow` applies them to one kernel.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray

from dsrl_jax.sparse.arguments import check_choice
from dsrl_jax.sparse.groups import Groups, draw_scores
from dsrl_jax.sparse.selection import count_true, select_smallest

DropName = Literal["balanced", "per_sign", "magnitude", "sensitivity", "nothing"]
# (kernel, mask, drop_fraction, room, gradient) -> marks, at most `room` of them, all in the mask.
DropFunction = Callable[[Array, Array, float | Array, int | Array, Array | None], Array]
GrowRule = Literal["empty_before_drop", "empty_after_drop"]
GrowBy = Literal["random", "gradient", "momentum"]
GrownWeight = Literal["zero", "stepped"]


class Rules(NamedTuple):
    """How a topology adapts; the defaults are the paper's text.

    Attributes:
      drop: which connections leave, a share η of them. "balanced": the weights nearest 0, half of
        each sign (Algorithm 2); "per_sign": η of each sign (the authors' code); "magnitude": the
        smallest magnitudes; "sensitivity": the smallest |weight x gradient|; "nothing": none, the
        topology is static. Or a function of (kernel, mask, η, room, gradient) that JAX can trace;
        it marks at most `room` connections.
      grow: where connections may grow: at positions empty before the drop, or after it, so that a
        connection that was just dropped may come back.
      grown_weight: "zero", or "stepped": the value of the given kernel at that position.
      grow_by: which of these positions grow: random ones, or the ones with the largest |gradient|
        or |momentum|.
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
# SET, Mocanu et al. 2018, as Evci et al. 2020 (Table 1) describe it. Balanced by sign it is PAPER.
SET = Rules(drop="magnitude")
# RigL, Evci et al. 2020, Algorithm 1: the k largest gradients outside the connections that stay,
# so that a connection that was just dropped may come back, with weight 0.
RIGL = Rules(drop="magnitude", grow="empty_after_drop", grow_by="gradient")
# SNFS, Dettmers & Zettlemoyer 2019, within each layer: no connections move between layers.
SNFS = Rules(drop="magnitude", grow_by="momentum")


def check_rules(rules: Rules) -> None:
    """Raises ValueError for an unknown name."""
    if not callable(rules.drop):
        check_choice("rules.drop", rules.drop, DropName)
    check_choice("rules.grow", rules.grow, GrowRule)
    check_choice("rules.grown_weight", rules.grown_weight, GrownWeight)
    check_choice("rules.grow_by", rules.grow_by, GrowBy)


def mark_dropped(
    rules: Rules,
    kernel: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    drop_fraction: float | Float[Array, ""],
    room: int | Int[Array, ""],
    gradient: Float[Array, "*shape"] | None = None,
) -> Bool[Array, "*shape"]:
    """Marks the connections with the smallest scores, as many as `rules.drop` removes.

    Of equal scores, the lowest flat index is marked first.

    Args:
      room: the largest number of connections to mark.
    Raises:
      ValueError: if the rule needs a gradient and there is none.
    """
    if callable(rules.drop):
        return rules.drop(kernel, mask, drop_fraction, room, gradient)
    rule = _DROP_RULES[rules.drop]
    parts = mask[None]
    if rule.by_sign:
        parts = jnp.stack([mask & (kernel == 0), mask & (kernel > 0), mask & (kernel < 0)])
    counts = rule.counts(drop_fraction, jax.vmap(count_true)(parts), room)
    # Algorithm 2, lines 3-4: one search for all signs, which compiles sooner than three.
    select = jax.vmap(select_smallest, (None, 0, 0))
    return select(rule.score(kernel, gradient), parts, counts).any(axis=0)


def score_growth(
    rules: Rules,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    gradient: Float[Array, "*shape"] | None = None,
    momentum: Float[Array, "*shape"] | None = None,
) -> Num[Array, "*shape"]:
    """Scores every position of a kernel by `rules.grow_by`; the largest scores grow first.

    Raises:
      ValueError: if the rule needs a gradient or a momentum and there is none.
    """
    if rules.grow_by == "random":
        return draw_scores(key, shape, rules.groups)  # Algorithm 2, line 6
    signal = gradient if rules.grow_by == "gradient" else momentum
    if signal is None:
        raise ValueError(f"rules.grow_by {rules.grow_by!r} needs the kernel's, got none")
    return jnp.abs(signal)


def _magnitude(kernel: Array, gradient: Array | None) -> Array:
    """|weight|; no gradient is needed."""
    return jnp.abs(kernel)


def _sensitivity(kernel: Array, gradient: Array | None) -> Array:
    """|weight x gradient|, in float32 at least.

    To first order, the change of the loss if the weight becomes 0 (Molchanov et al. 2017, eq. 7;
    SNIP, Lee et al. 2019, eq. 6).
    """
    if gradient is None:
        raise ValueError("rules.drop 'sensitivity' needs the kernel's gradient, got none")
    wide = jnp.promote_types(kernel.dtype, jnp.float32)
    return jnp.abs(kernel.astype(wide) * gradient.astype(wide))


def _count_share(drop_fraction: float | Array, connections: Array, room: int | Array) -> Array:
    """floor(η connections), at most `room` (RigL, Algorithm 1)."""
    return jnp.minimum(_floor_share(drop_fraction, connections), room)


def _count_none(drop_fraction: float | Array, connections: Array, room: int | Array) -> Array:
    """0: the topology is static."""
    return jnp.zeros_like(connections)


def _count_balanced(drop_fraction: float | Array, connections: Array, room: int | Array) -> Array:
    """Counts by the paper's text (Algorithm 2, lines 1 and 2; eq. 4): c = floor(η connections).

    Connections that are exactly 0 leave first: eq. (4) read literally would keep a connection
    without a gradient forever. Half of the others, rounded down, are positive and half negative;
    if one sign has too few connections, more of the other sign are dropped.
    """
    n_zero, n_positive, n_negative = connections
    # Algorithm 2, line 1
    count = jnp.minimum(_floor_share(drop_fraction, n_zero + n_positive + n_negative), room)
    zero = jnp.minimum(count, n_zero)
    rest = count - zero
    # Algorithm 2, line 2
    negative = jnp.minimum(rest - jnp.minimum(rest // 2, n_positive), n_negative)
    return jnp.stack([zero, rest - negative, negative])


def _count_per_sign(drop_fraction: float | Array, connections: Array, room: int | Array) -> Array:
    """Counts by the authors' code: η of each sign, and all connections that are exactly 0.

    floor(η positives) + 1 of the positive weights and negatives - floor((1 - η) negatives) of the
    negative ones, at most `room` in all. With η = 0 none, as by every other rule, so that one
    program can train networks with and without adaptations.
    """
    room = jnp.where(jnp.asarray(drop_fraction) > 0, room, 0)
    n_zero, n_positive, n_negative = connections
    zero = jnp.minimum(n_zero, room)
    share = jnp.minimum(_floor_share(drop_fraction, n_positive) + 1, n_positive)
    positive = jnp.minimum(share, room - zero)
    share = n_negative - _floor_share(1 - drop_fraction, n_negative)
    negative = jnp.minimum(share, room - zero - positive)
    return jnp.stack([zero, positive, negative])


class _DropRule(NamedTuple):
    """score: of (kernel, gradient); the smallest scores leave first.

    counts: of (drop_fraction, connections, room), how many leave; `connections` and the result are
      int32 [1], or [3] by sign: those that are exactly 0, positive and negative.
    """

    score: Callable[[Array, Array | None], Array]
    counts: Callable[[float | Array, Array, int | Array], Array]
    by_sign: bool = False


_DROP_RULES = {
    "balanced": _DropRule(_magnitude, _count_balanced, by_sign=True),
    "per_sign": _DropRule(_magnitude, _count_per_sign, by_sign=True),
    "magnitude": _DropRule(_magnitude, _count_share),
    "sensitivity": _DropRule(_sensitivity, _count_share),
    "nothing": _DropRule(_magnitude, _count_none),
}


def _floor_share(fraction: float | Array, count: Array) -> Array:
    """floor(fraction * count) in float32, which rounds 0.7 of 10 to seven."""
    return jnp.floor(jnp.float32(fraction) * count.astype(jnp.float32)).astype(jnp.int32)
