"""Each rule of the paper as slow NumPy loops, the reference for the fast code.

Written only from the paper (paper.md) and FACTS.md, not from `dsrl_jax`. "Algorithm 2 L3" is line
3 of that listing; "FACTS, how many" is that row of its table "Where the authors' code differs".

Notation: a kernel is `[n_in, n_out]`; a mask is a boolean array of the same shape, True =
connected; a flat index counts positions in C order. `connections` are the True positions of a mask,
those that hold exactly 0 included. Kernels must be finite on the mask. -0.0 counts as 0.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Layers = Sequence[tuple[np.ndarray, np.ndarray]]  # (kernel [n_in, n_out], bias [n_out]) by layer

# --- Selection: exactly `count` entries, ties by lowest flat index first -----------------------


def select_smallest(scores: np.ndarray, candidates: np.ndarray, count: int) -> np.ndarray:
    """Marks exactly min(count, #candidates) candidates with the smallest scores.

    Source: DESIGN.md, Contracts, Masks (counts are exact under ties); lowest flat index first.
    """
    scores, candidates = np.asarray(scores), np.asarray(candidates)
    flat_scores = scores.ravel().tolist()
    flat_candidates = [index for index, is_one in enumerate(candidates.ravel()) if is_one]
    in_order = sorted(flat_candidates, key=lambda index: (flat_scores[index], index))
    selected = np.zeros(scores.size, dtype=bool)
    for place in range(min(int(count), len(in_order))):
        selected[in_order[place]] = True
    return selected.reshape(scores.shape)


def select_largest(scores: np.ndarray, candidates: np.ndarray, count: int) -> np.ndarray:
    """Marks exactly min(count, #candidates) candidates with the largest scores.

    Source: as `select_smallest`; here too ties go to the lowest flat index first.
    """
    scores, candidates = np.asarray(scores), np.asarray(candidates)
    flat_scores = scores.ravel().tolist()
    flat_candidates = [index for index, is_one in enumerate(candidates.ravel()) if is_one]
    in_order = sorted(flat_candidates, key=lambda index: (-flat_scores[index], index))
    selected = np.zeros(scores.size, dtype=bool)
    for place in range(min(int(count), len(in_order))):
        selected[in_order[place]] = True
    return selected.reshape(scores.shape)


# --- Topology: density, drop, grow -------------------------------------------------------------


def density(n_in: int, n_out: int, lam: float) -> float:
    """Probability of a connection in an Erdős–Rényi layer, clipped to 1.

    Source: equation (1); the clip: FACTS, Sparsity ("clipped to 1").
    """
    return min(1.0, lam * (n_out + n_in) / (n_out * n_in))


def floor_of_share(fraction: float, total: int) -> int:
    """floor(fraction * total), the fraction read as the decimal number it prints as.

    Source: Algorithm 2 L1. 0.05 of 20 is 1 and 0.7 of 10 is 7, whatever binary floats say.
    """
    return math.floor(Fraction(str(fraction)) * int(total))


def balanced_counts(
    zeros: int, positives: int, negatives: int, drop_fraction: float, room: int
) -> tuple[int, int, int]:
    """How many (zero, positive, negative) connections the preset `paper` drops.

    Source: Algorithm 2 L1-L2; FACTS, how many: exact zeros first, inside c. DESIGN.md, Contracts,
    Masks: the drop is capped by the room to grow, and one side gives what the other lacks.
    """
    drop_count = min(floor_of_share(drop_fraction, zeros + positives + negatives), int(room))
    from_zeros = min(drop_count, zeros)
    rest = drop_count - from_zeros
    from_positives = rest // 2
    from_negatives = rest - from_positives
    if from_positives > positives:
        from_positives, from_negatives = positives, rest - positives
    if from_negatives > negatives:
        from_positives, from_negatives = rest - negatives, negatives
    return from_zeros, from_positives, from_negatives


def per_sign_counts(positives: int, negatives: int, drop_fraction: float) -> tuple[int, int]:
    """How many (positive, negative) connections the preset `official` drops; zeros come on top.

    Source: FACTS, how many, in float arithmetic (Python's, so float64).
    """
    from_positives = min(positives, math.floor(drop_fraction * positives) + 1)
    from_negatives = negatives - math.floor((1 - drop_fraction) * negatives)
    return from_positives, from_negatives


def split_by_sign(
    kernel: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The connections that are exactly 0, positive, negative: three boolean arrays."""
    kernel, mask = np.asarray(kernel), np.asarray(mask)
    zeros, positives, negatives = (np.zeros(kernel.shape, dtype=bool) for _ in range(3))
    for position in np.ndindex(kernel.shape):
        zeros[position] = mask[position] and kernel[position] == 0
        positives[position] = mask[position] and kernel[position] > 0
        negatives[position] = mask[position] and kernel[position] < 0
    return zeros, positives, negatives


def drop_balanced(
    kernel: np.ndarray, mask: np.ndarray, drop_fraction: float, room: int
) -> np.ndarray:
    """The connections that the preset `paper` drops.

    Source: Algorithm 2 L1-L5, equation (4) (the weights nearest 0 of each sign); FACTS, how many.
    `room` is how many positions can be grown. Ties: lowest flat index first.
    """
    zeros, positives, negatives = split_by_sign(kernel, mask)
    from_zeros, from_positives, from_negatives = balanced_counts(
        int(zeros.sum()), int(positives.sum()), int(negatives.sum()), drop_fraction, room
    )
    magnitude = np.abs(kernel)
    return (
        select_smallest(magnitude, zeros, from_zeros)
        | select_smallest(magnitude, positives, from_positives)
        | select_smallest(magnitude, negatives, from_negatives)
    )


def drop_per_sign(kernel: np.ndarray, mask: np.ndarray, drop_fraction: float) -> np.ndarray:
    """The connections that the preset `official` drops.

    Source: FACTS, how many (authors' code). Ties: lowest flat index first (DESIGN.md: counts are
    exact). The kernel may be unmasked: only its values on the mask count.
    """
    zeros, positives, negatives = split_by_sign(kernel, mask)
    from_positives, from_negatives = per_sign_counts(
        int(positives.sum()), int(negatives.sum()), drop_fraction
    )
    magnitude = np.abs(kernel)
    return (
        zeros
        | select_smallest(magnitude, positives, from_positives)
        | select_smallest(magnitude, negatives, from_negatives)
    )


def grow_candidates_before(mask: np.ndarray) -> np.ndarray:
    """Returns the positions without a connection before the drop (preset `paper`).

    Source: equation (5) and FACTS, grow: "among those that held no connection before the drop".
    """
    mask = np.asarray(mask)
    candidates = np.zeros(mask.shape, dtype=bool)
    for position in np.ndindex(mask.shape):
        candidates[position] = not mask[position]
    return candidates


def grow_candidates_after(mask: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Positions that hold no connection after the drop (preset `official`).

    Source: FACTS, grow: "all empty positions, the just-dropped ones included".
    """
    mask, dropped = np.asarray(mask), np.asarray(dropped)
    candidates = np.zeros(mask.shape, dtype=bool)
    for position in np.ndindex(mask.shape):
        candidates[position] = not mask[position] or dropped[position]
    return candidates


# --- Checks of an adaptation: growth is random, so all that is determined is asserted ------------


def _assert_same(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Fails with the number of differing positions and the first one."""
    differing = np.argwhere(actual != expected)
    if len(differing):
        first = tuple(int(index) for index in differing[0])
        raise AssertionError(
            f"{what}: {len(differing)} positions differ, first {first}: "
            f"got {actual[first]}, expected {expected[first]}"
        )


def _assert_none(marked: np.ndarray, what: str) -> None:
    """Fails if any position is marked, with how many and the first one."""
    _assert_same(marked, np.zeros(marked.shape, dtype=bool), what)


def _as_checked_arrays(*arrays: np.ndarray) -> list[np.ndarray]:
    """`kernel, mask, new_kernel, new_mask` as NumPy arrays of one shape, the masks boolean."""
    kernel, mask, new_kernel, new_mask = checked = [np.asarray(array) for array in arrays]
    shapes = [array.shape for array in checked]
    assert len(set(shapes)) == 1, f"kernel, mask, new kernel, new mask differ in shape: {shapes}"
    assert mask.dtype == bool, f"mask must be boolean, got {mask.dtype}"
    assert new_mask.dtype == bool, f"new mask must be boolean, got {new_mask.dtype}"
    assert new_kernel.dtype == kernel.dtype, (
        f"the kernel's type changed from {kernel.dtype} to {new_kernel.dtype}"
    )
    return checked


def _values_where(kernel: np.ndarray, connected: np.ndarray) -> np.ndarray:
    """The kernel's value at the `connected` positions, exactly 0 everywhere else."""
    values = np.zeros_like(kernel)
    for position in np.ndindex(kernel.shape):
        if connected[position]:
            values[position] = kernel[position]
    return values


def check_paper_adaptation(
    kernel: np.ndarray,
    mask: np.ndarray,
    new_kernel: np.ndarray,
    new_mask: np.ndarray,
    drop_fraction: float,
) -> None:
    """Asserts all that is determined about one drop-and-grow of the preset `paper`.

    Source: Algorithm 2, equations (4) and (5); FACTS, how many, grow, grown weight. Which of the
    candidates grow is random and not checked here.
    """
    kernel, mask, new_kernel, new_mask = _as_checked_arrays(kernel, mask, new_kernel, new_mask)
    candidates = grow_candidates_before(mask)
    dropped = drop_balanced(kernel, mask, drop_fraction, room=int(candidates.sum()))
    _assert_same(mask & ~new_mask, dropped, "dropped connections")

    grown = new_mask & ~(mask & ~dropped)
    _assert_none(grown & ~candidates, "grown where a connection was before the drop")
    assert grown.sum() == dropped.sum(), f"{grown.sum()} grown, {dropped.sum()} dropped"
    assert new_mask.sum() == mask.sum(), f"{mask.sum()} connections became {new_mask.sum()}"

    _assert_none(grown & (new_kernel != 0), "grown weights that are not exactly 0")
    _assert_none(~new_mask & (new_kernel != 0), "absent weights that are not exactly 0")
    kept = mask & ~dropped
    _assert_same(new_kernel, _values_where(kernel, kept), "weights (only kept ones hold a value)")


def check_official_adaptation(
    kernel: np.ndarray,
    mask: np.ndarray,
    new_kernel: np.ndarray,
    new_mask: np.ndarray,
    drop_fraction: float,
    final: bool = False,
) -> None:
    """Asserts all that is determined about one drop-and-grow of the preset `official`.

    Source: FACTS, how many, grow, grown weight; `final`: row end, drop without growing.
    `kernel` is as the optimizer left it, not yet masked: a grown empty position holds its stepped
    value, a just-dropped and regrown one its old value. Such a regrown connection looks like
    a kept one, so of the drop only this is checked: what it leaves is in the new mask.
    """
    kernel, mask, new_kernel, new_mask = _as_checked_arrays(kernel, mask, new_kernel, new_mask)
    dropped = drop_per_sign(kernel, mask, drop_fraction)
    kept = mask & ~dropped
    _assert_none(kept & ~new_mask, "connections lost that the drop leaves")
    if final:
        _assert_same(new_mask, kept, "mask after the final drop")
    else:
        grown = new_mask & ~kept
        candidates = grow_candidates_after(mask, dropped)
        _assert_none(grown & ~candidates, "grown where a connection is kept")
        assert grown.sum() == dropped.sum(), f"{grown.sum()} grown, {dropped.sum()} dropped"
        assert new_mask.sum() == mask.sum(), f"{mask.sum()} connections became {new_mask.sum()}"

    _assert_none(~new_mask & (new_kernel != 0), "absent weights that are not exactly 0")
    _assert_same(new_kernel, _values_where(kernel, new_mask), "weights on the new mask")


def adapts(update: int, period: int, offset: int, last_adaptation: int | None) -> str:
    """What happens at an update, counted from 1: "no", "drop_and_grow" or "drop" (final drop).

    Source: Algorithm 1 L14 and FACTS, when (offset 0 `paper`, 2 `official`) and end: the first
    adaptation past `last_adaptation` only drops and is the last; without a `last_adaptation`, or
    with one that is not positive, there is no final drop and the adaptations never stop. The
    actor adapts only at updates that also train it (L17, L20).
    """
    if not 0 <= offset < period:
        raise ValueError(f"offset must be in [0, period), got {offset} with period {period}")
    if update < 1 or update % period != offset:
        return "no"
    if last_adaptation is None or last_adaptation <= 0 or update <= last_adaptation:
        return "drop_and_grow"
    final_drop = last_adaptation + 1
    while final_drop % period != offset:
        final_drop += 1
    return "drop" if update == final_drop else "no"


# --- Targets: Polyak average and sparsity --------------------------------------------------------


def polyak(target: np.ndarray, online: np.ndarray, tau: float) -> np.ndarray:
    """The average tau * online + (1 - tau) * target of one array, in float64.

    Source: Algorithm 1 L24-L25.
    """
    target, online = np.asarray(target, np.float64), np.asarray(online, np.float64)
    average = np.zeros(target.shape)
    for position in np.ndindex(target.shape):
        average[position] = tau * online[position] + (1 - tau) * target[position]
    return average


def keep_largest(kernel: np.ndarray, count: int) -> np.ndarray:
    """Keeps the `count` largest magnitudes of the nonzero entries and sets the others to 0.

    Source: Algorithm 3, equations (6) and (7), with the count exact (DESIGN.md, Contracts, Masks):
    of equal magnitudes the lowest flat index stays first. At most `count` nonzero: unchanged.
    """
    kernel = np.asarray(kernel)
    nonzero = kernel != 0
    if nonzero.sum() <= count:
        return kernel.copy()
    return _values_where(kernel, select_largest(np.abs(kernel), nonzero, count))


def keep_largest_strict(kernel: np.ndarray, count: int) -> np.ndarray:
    """Keeps the entries whose magnitude is strictly above the (count + 1)-th largest magnitude.

    Source: FACTS, target, preset `official` ("by strict threshold"): under ties fewer than `count`
    stay. With `count` at least the kernel's size there is no such magnitude: unchanged.
    """
    kernel = np.asarray(kernel)
    if count >= kernel.size:
        return kernel.copy()
    descending = sorted(np.abs(kernel).ravel().tolist(), reverse=True)
    threshold = descending[int(count)]  # index from 0: the (count + 1)-th largest
    kept = np.zeros(kernel.shape, dtype=bool)
    for position in np.ndindex(kernel.shape):
        kept[position] = abs(kernel[position]) > threshold
    return _values_where(kernel, kept)


# --- TD3, in float64 -----------------------------------------------------------------------------


def mlp(layers: Layers, x: np.ndarray) -> np.ndarray:
    """A multilayer perceptron of one input `[n_in]` or a batch `[batch, n_in]`.

    Source: Section 4.4: ReLU after every layer but the last, which is left linear.
    """
    x = np.asarray(x, np.float64)
    if x.ndim == 2:
        return np.array([mlp(layers, row) for row in x])
    for number, (kernel, bias) in enumerate(layers, start=1):
        kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        n_in, n_out = kernel.shape
        output = np.zeros(n_out)
        for j in range(n_out):
            output[j] = bias[j]
            for i in range(n_in):
                output[j] += x[i] * kernel[i, j]
            if number < len(layers):
                output[j] = max(0.0, output[j])
        x = output
    return x


def smoothed_target_action(
    action: np.ndarray,
    noise: np.ndarray,
    noise_clip_units: float | np.ndarray,
    low: float | np.ndarray,
    high: float | np.ndarray,
) -> np.ndarray:
    """The target's action plus clipped noise, itself clipped to the action bounds.

    Source: Algorithm 1 L11; the bounds: FACTS, Hyperparameters ("clipped to the bounds"). All is in
    the environment's own units: noise and clip are already scaled by the action bound.
    """
    action = np.asarray(action, np.float64)
    noise, noise_clip_units, low, high = (
        np.broadcast_to(np.asarray(value, np.float64), action.shape)
        for value in (noise, noise_clip_units, low, high)
    )
    smoothed = np.zeros(action.shape)
    for position in np.ndindex(action.shape):
        limit = noise_clip_units[position]
        clipped_noise = min(max(noise[position], -limit), limit)
        smoothed[position] = min(
            max(action[position] + clipped_noise, low[position]), high[position]
        )
    return smoothed


def td_target(
    reward: np.ndarray,
    terminated: np.ndarray,
    next_q1: np.ndarray,
    next_q2: np.ndarray,
    discount: float,
) -> np.ndarray:
    """Reward plus discount * min(next_q1, next_q2), `[batch]`; only the reward once terminated.

    Source: Algorithm 1 L12, equation (3); FACTS, "Both": a time limit is not a termination.
    """
    target = np.zeros(len(reward))
    for sample in range(len(reward)):
        target[sample] = float(reward[sample])
        if not terminated[sample]:
            target[sample] += discount * min(float(next_q1[sample]), float(next_q2[sample]))
    return target


def critic_loss(q1: np.ndarray, q2: np.ndarray, target: np.ndarray) -> float:
    """Sum of both critics' mean squared errors over the batch, inputs `[batch]`.

    Source: Algorithm 1 L13; FACTS, "Both": one loss, MSE1 + MSE2.
    """
    loss = 0.0
    for q in (q1, q2):
        total = 0.0
        for sample in range(len(target)):
            total += (float(target[sample]) - float(q[sample])) ** 2
        loss += total / len(target)
    return loss


def adam_l2_step(
    param: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    lr: float,
    weight_decay: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The t-th Adam step (t from 1), L2 added to the gradient before Adam: (param, m, v).

    Source: FACTS, Hyperparameters ("L2 added to the gradient before Adam; not AdamW"); Adam's own
    b1 = 0.9, b2 = 0.999, eps = 1e-8, the eps outside the root.
    """
    param, grad, m, v = (np.array(array, np.float64) for array in (param, grad, m, v))
    for position in np.ndindex(param.shape):
        gradient = grad[position] + weight_decay * param[position]
        m[position] = 0.9 * m[position] + 0.1 * gradient
        v[position] = 0.999 * v[position] + 0.001 * gradient**2
        mean = m[position] / (1 - 0.9**t)
        mean_square = v[position] / (1 - 0.999**t)
        param[position] -= lr * mean / (math.sqrt(mean_square) + 1e-8)
    return param, m, v


# --- SAC, in float64 -----------------------------------------------------------------------------


def squashed_sample(
    mean: np.ndarray, log_std: np.ndarray, noise: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Actions `[batch, n_action]` and the logarithms of their densities `[batch]`.

    Source: FACTS, "SAC as the paper used it": log_std clipped to [-20, 2]; tanh squashing, the
    log-probability corrected by log(scale * (1 - tanh^2) + 1e-6) with the action's scale. `noise`
    is drawn from the standard normal distribution; `low` and `high` bound each action.
    """
    action, log_probability = np.zeros(np.shape(mean)), np.zeros(len(mean))
    for sample, dimension in np.ndindex(action.shape):
        log_deviation = min(max(float(log_std[sample, dimension]), -20.0), 2.0)
        deviation = math.exp(log_deviation)
        before = float(mean[sample, dimension]) + deviation * float(noise[sample, dimension])
        scale = (float(high[dimension]) - float(low[dimension])) / 2
        squashed = math.tanh(before)
        action[sample, dimension] = float(low[dimension]) + scale * (squashed + 1)
        distance = (before - float(mean[sample, dimension])) / deviation
        normal = math.exp(-(distance**2) / 2) / (deviation * math.sqrt(2 * math.pi))
        log_probability[sample] += math.log(normal) - math.log(scale * (1 - squashed**2) + 1e-6)
    return action, log_probability


def soft_target(
    reward: np.ndarray,
    terminated: np.ndarray,
    next_q1: np.ndarray,
    next_q2: np.ndarray,
    next_log_probability: np.ndarray,
    discount: float,
    alpha: float,
) -> np.ndarray:
    """Reward plus discount * (min(next_q1, next_q2) - alpha * log-probability), `[batch]`.

    Source: SAC, Haarnoja et al. 2018, with alpha of Appendix A; only the reward once terminated.
    """
    soft_q = [np.asarray(q) - alpha * np.asarray(next_log_probability) for q in (next_q1, next_q2)]
    return td_target(reward, terminated, *soft_q, discount)


def sac_actor_loss(
    log_probability: np.ndarray, q1: np.ndarray, q2: np.ndarray, alpha: float
) -> float:
    """Mean over the batch of alpha * log-probability - min(q1, q2), inputs `[batch]`.

    Source: SAC, Haarnoja et al. 2018; FACTS: "the policy loss uses min(Q1, Q2)".
    """
    total = 0.0
    for sample in range(len(log_probability)):
        smaller = min(float(q1[sample]), float(q2[sample]))
        total += alpha * float(log_probability[sample]) - smaller
    return total / len(log_probability)


def temperature_loss(log_alpha: float, log_probability: np.ndarray, target_entropy: float) -> float:
    """Mean over the batch of -log(alpha) * (log-probability + target entropy).

    Source: SAC, Haarnoja et al. 2018, eq. of the temperature, on log(alpha) as its authors' code.
    """
    total = 0.0
    for sample in range(len(log_probability)):
        total -= float(log_alpha) * (float(log_probability[sample]) + target_entropy)
    return total / len(log_probability)


# --- Costs and metrics ---------------------------------------------------------------------------


def training_flops(
    actor_connections: int,
    critic_connections_list: Sequence[int],
    batch: int,
    updates: int,
    policy_delay: int,
) -> int:
    """3 x forward FLOPs (2 a connection) x batch: critics every update, actor every d-th.

    Source: FACTS, Metrics, Training FLOPs. Updates count from 1, so the actor is trained
    floor(updates / d) times.
    """
    trained_connections = actor_connections * (updates // policy_delay)
    for critic_connections in critic_connections_list:
        trained_connections += critic_connections * updates
    return 3 * 2 * batch * trained_connections


def learning_curve_area(returns: Sequence[float], steps: int, eval_period: int) -> float:
    """Learning curve area of the mean evaluation returns, the one at step 0 included.

    Source: equation (9) as FACTS, Metrics, LCA reads it: sum / steps * (eval_period / 5000).
    """
    total = 0.0
    for mean_return in returns:
        total += float(mean_return)
    return total / steps * (eval_period / 5000)
