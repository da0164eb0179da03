"""Tests for a process that has several devices; `test_devices.py` starts it."""

import itertools

import jax
import numpy as np
import pytest

from dsrl_jax.config.members import resolve_members
from dsrl_jax.config.presets import resolve
from dsrl_jax.training import train as training
from dsrl_jax.training.devices import Placement, choose_placement, place, spread
from tests.training.device.test_backend import SETTINGS, TOY
from tests.training.runs import TOYS, comparable, compiled_functions

DEVICES, SEEDS = 4, (0, 1, 2, 3)
# By seed. Settings that members share lie on every device, these with their members.
DROP_FRACTIONS = dict(zip(SEEDS, (0.2, 0.1, 0.3, 0.2), strict=True))
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Rows and directory of a run on all devices."""
    directory = tmp_path_factory.mktemp("whole")
    with jax.numpy_rank_promotion("allow"):
        return list(start(directory)), directory


def start(directory=None, devices=DEVICES, seeds=SEEDS, **options):
    settings = SETTINGS | {"drop_fraction": [DROP_FRACTIONS[seed] for seed in seeds]}
    experiment = resolve_members(
        TOY + "PointMass", "ds_td3", backend="brax", seeds=seeds, settings=settings
    )
    return training.run(experiment, directory, devices=devices, **options)


def assert_close(rows, others):
    kinds = ("training", "evaluation", "topology")
    rows, others = ([row for row in each if row["kind"] in kinds] for each in (rows, others))
    for ours, theirs in zip(rows, others, strict=True):
        for key, value in theirs.items():
            if isinstance(value, float | list):
                np.testing.assert_allclose(ours[key], value, rtol=1e-3, err_msg=key)
            else:
                assert ours[key] == value


def test_rows_are_those_of_one_device(whole):
    assert_close(whole[0], start(devices=1))


def test_a_member_on_its_own_device_trains_as_alone(whole):
    own = [dict(row) for row in whole[0] if row.get("seed") == 2]
    assert {row.pop("member") for row in own} == {2}
    assert comparable(own) == comparable(start(devices=1, seeds=(2,)))


def test_a_stopped_run_on_gymnasium_continues_as_on_one_device(tmp_path, caplog):
    settings = {key: SETTINGS[key] for key in SETTINGS if key not in ("num_envs", "episode_length")}
    experiment = resolve(TOYS + "PointMass-v0", "ds_td3", seeds=SEEDS, settings=settings)
    stops = itertools.count(1)
    rows = list(training.run(experiment, tmp_path, devices=2, stop=lambda: next(stops) == 40))
    with compiled_functions(caplog) as count:
        rows += list(training.run(experiment, tmp_path, devices=2))
    assert count["_step"] == 1
    assert_close(rows, training.run(experiment, devices=1))


def test_a_stopped_run_continues_to_the_same_bytes(whole, tmp_path, caplog):
    rows, directory = whole
    stops = itertools.count()
    first = list(start(tmp_path, stop=lambda: next(stops) == 1))
    with compiled_functions(caplog) as count:
        rest = list(start(tmp_path))
    assert comparable(first) + comparable(rest) == comparable(rows)
    name = "replay/transitions.f32"
    assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()
    assert (count["_advance"], count["_evaluate"], count["_start"]) == (1, 1, 1)


def test_no_device_waits_for_another():
    """Searches and ends of episodes need no other device."""
    placement = choose_placement(8)

    def count_down(values):
        return jax.lax.while_loop(lambda held: (held > 0).any(), lambda held: held - 1, values)

    values = place(placement, np.arange(8))
    program = jax.jit(spread(placement, count_down, (0,))).lower(values).compile()
    assert "while" in program.as_text()
    assert not [name for name in COLLECTIVES if name in program.as_text()]
    np.testing.assert_array_equal(program(values), [-1, 0, -1, 0, -1, 0, -1, 0])


def test_members_are_shared_evenly_or_it_raises():
    assert choose_placement(8).mesh.size == 4 and choose_placement(8).each == 2
    assert choose_placement(6).mesh.size == 3
    assert choose_placement(5) == choose_placement(8, 1)._replace(members=5) == Placement(5)
    with pytest.raises(ValueError, match="6 seeds cannot be shared evenly among 4 devices"):
        choose_placement(6, 4)
    with pytest.raises(ValueError, match="from 1 to the 4 there are, got 5"):
        choose_placement(5, 5)
