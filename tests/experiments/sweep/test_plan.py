"""The members, groups and batches of a sweep before training, and the ranking of its results."""

import math

import numpy as np
import pytest

from dsrl_jax.config.members import DENSE_LAMBDA, count_sharing
from experiments.sweep import report
from experiments.sweep.plan import (
    SweepSpec,
    default_directory,
    format_groups,
    group,
    joined,
    make_batches,
    plan_members,
    split_evenly,
)
from experiments.sweep.ranking import Outcome, interval, rank


def spec(*, algo=("ds_td3",), preset=("paper",), seeds=(0, 1), **lists):
    named = {"algo": tuple(algo), "preset": tuple(preset)}
    return SweepSpec("Hopper-v5", "v5", "gymnasium", tuple(seeds), {**named, **lists})


def test_members_are_the_product_and_seeds_come_last():
    members = plan_members(spec(drop_fraction=(0.02, 0.1), tau=(0.01,), sparsity=(0.5, 0.8)))
    assert [(m.seed, *m.values.values()) for m in members] == [
        (seed, fraction, sparsity)
        for fraction in (0.02, 0.1)
        for sparsity in (0.5, 0.8)
        for seed in (0, 1)
    ]
    assert list(members[0].values) == ["drop_fraction", "sparsity"]  # tau is no axis
    assert {member.experiment.agent.tau for member in members} == {0.01}
    assert len(group(members)) == 1
    assert joined(members).varied.keys() == {"drop_fraction", "sparsity"}


def test_the_three_methods_are_members_of_one_program():
    algos = ("td3", "static_td3", "ds_td3")
    members = plan_members(
        spec(algo=algos, drop_fraction=(0.02, 0.1), adaptation_period=(500,), seeds=(3,))
    )
    # Neither dense nor static networks have a drop fraction.
    assert [tuple(member.values.values()) for member in members] == [
        ("td3",),
        ("static_td3",),
        ("ds_td3", 0.02),
        ("ds_td3", 0.1),
    ]
    assert len(group(members)) == 1
    experiment = joined(members)
    assert experiment.algo == "ds_td3" and experiment.freeze_nonfinite
    assert experiment.varied["drop_fraction"] == (0.0, 0.0, 0.02, 0.1)
    assert experiment.varied["lambda1"] == (DENSE_LAMBDA, 7.0, 7.0, 7.0)


def test_settings_that_are_no_numbers_make_groups():
    members = plan_members(spec(hidden_sizes=((8, 8), (16,)), steps=(100,), tau=(0.1, 0.2)))
    groups = group(members)
    assert [len(one) for one in groups] == [4, 4]
    assert format_groups(groups) == ["hidden_sizes 8,8", "hidden_sizes 16"]
    groups = group(plan_members(spec(algo=("ds_td3", "ds_sac"), start_steps=(10, 20))))
    assert [words.split(", ")[:3:2] for words in format_groups(groups)] == [
        [f"algo {algo}", f"start_steps {steps}"]
        for algo in ("ds_td3", "ds_sac")
        for steps in (10, 20)
    ]


def test_each_preset_has_one_group_for_all_methods():
    asked = spec(algo=("td3", "ds_td3"), preset=("paper", "official"))
    assert [len(one) for one in group(plan_members(asked))] == [4, 4]


def test_a_network_with_another_topology_makes_groups():
    asked = spec(algo=("ds_td3",), actor_topology=("set", None))
    assert [len(one) for one in group(plan_members(asked))] == [2, 2]


def test_a_setting_that_no_method_has_is_an_error():
    with pytest.raises(ValueError, match="drop_fraction is a setting of adaptations, static_td3"):
        plan_members(spec(algo=("static_td3",), drop_fraction=(0.1, 0.2)))
    with pytest.raises(ValueError, match="at most 10,000 members, got 20,000"):
        plan_members(spec(tau=tuple(np.linspace(0.1, 0.9, 10_000).tolist())))


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(8, 8, [8]), (9, 8, [4, 5]), (10, 3, [2, 2, 3, 3]), (2, 1, [1, 1])]
)
def test_batches_are_nearly_equal(count, most, sizes):
    assert split_evenly(count, most) == sizes


@pytest.mark.parametrize(
    ("count", "most", "devices", "sizes"),
    [
        (16, 16, 4, [16]),
        (15, 20, 4, [15]),  # 5 on each of 3
        (15, 16, 4, [3, 4, 4, 4]),
        (13, 64, 4, [13]),  # one device has memory for all
        (7, 2, 4, [1, 2, 2, 2]),
    ],
)
def test_each_device_has_memory_for_its_part(count, most, devices, sizes):
    assert split_evenly(count, most, devices) == sizes
    on_each = [size // count_sharing(size, devices) for size in sizes]
    assert max(on_each) <= max(most // devices, 1)


def test_every_member_is_in_one_batch():
    groups = group(plan_members(spec(hidden_sizes=((8,), (9,)), tau=(0.1, 0.2, 0.3))))
    batches = make_batches(groups, [[4, 2], [6]])
    assert [len(batch) for batch in batches] == [4, 2, 6]
    assert [m for batch in batches for m in batch] == [m for one in groups for m in one]


def test_the_directory_depends_on_the_lists():
    first = default_directory(spec(tau=(0.1, 0.2)))
    assert first == default_directory(spec(tau=(0.1, 0.2), steps=(200,)))
    assert first != default_directory(spec(tau=(0.1, 0.3)))
    assert first.name.startswith("hopper-v5-ds_td3-sweep-")


def outcome(tau, area, frozen_at=None):
    member = plan_members(spec(tau=(tau, 2 * tau)))[0]
    return Outcome(member, 1, 0, frozen_at, 1.0, 1.0, area, 5, [(0, 1.0)])


def test_settings_are_ranked_by_their_mean_and_frozen_ones_are_last():
    areas = {0.1: [1.0, 2.0, 3.0], 0.2: [4.0, 4.0], 0.3: [9.0], 0.4: []}
    outcomes = [outcome(tau, area) for tau, own in areas.items() for area in own]
    outcomes += [outcome(0.3, math.nan, frozen_at=7), outcome(0.4, math.nan, frozen_at=9)]
    ranked = rank(outcomes)
    assert [each.values["tau"] for each in ranked] == [0.2, 0.1, 0.3, 0.4]
    assert [(each.lca, each.frozen) for each in ranked[:3]] == [(4, 0), (2, 0), (9, 1)]
    assert math.isnan(ranked[3].lca) and math.isnan(ranked[2].low)
    assert ranked[0].low == ranked[0].high == 4


def test_a_mean_curve_has_the_steps_that_all_seeds_have():
    """A batch that ended before --steps were raised has an evaluation there; others do not."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    curves = [(0, 1.0), (25, 2.0), (30, 9.0), (50, 5.0)], [(0, 3.0), (25, 4.0), (50, 7.0)]
    (one,) = rank([outcome(0.1, 1.0)._replace(curve=list(curve)) for curve in curves])
    _, axis = pyplot.subplots()
    report.draw_curves(axis, one, "C0")
    np.testing.assert_array_equal(axis.lines[-1].get_xydata(), [(0, 2.0), (25, 3.0), (50, 6.0)])
    pyplot.close()


def test_the_interval_comes_from_the_bootstrap():
    """A quarter of the resampled means of two values equal the lower one, more than 2.5 %."""
    assert interval([0.0, 1.0]) == (0.0, 1.0)
    values = np.random.default_rng(1).normal(size=400).tolist()
    low, high = interval(values)
    assert low < np.mean(values) < high
    # The mean of so many values is normal with deviation s / sqrt(n).
    assert high - low == pytest.approx(2 * 1.96 * np.std(values) / 20, rel=0.05)
    assert interval(values) == (low, high)
    assert all(map(math.isnan, interval([1.0])))


def test_a_table_has_every_axis_and_rank():
    rows = [
        {"rank": place, "tau": "0.1", "lca": value, "final": 1.0, "connections": 5.0}
        for place, value in enumerate((2.0, math.nan), start=1)
    ]
    lines = report.format_table(rows)
    assert lines[0].split() == ["rank", "tau", "lca", "final", "connections"]
    assert lines[1].split() == ["1", "0.1", "2.0000", "1.0", "5"]
    assert lines[2].split()[2] == "nan" and len(set(map(len, lines))) == 1
