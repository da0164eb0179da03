"""Every benchmark measures, with tiny networks; nothing here checks how fast it is.

Networks and scans have one size, so that tests share compiled programs by JAX's cache. Static-TD3
stands for DS-TD3 where it can, because it compiles much faster.
"""

import json

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import functions, loops, startup, updates, workload
from experiments.bench.measure import Report, median

SIZES = (8, 8)
ACTOR, CRITIC = [(17, 8), (8, 8), (8, 6)], [(23, 8), (8, 8), (8, 1)]
# Of one actor and two critics. A state has networks, targets and two moments as large, and masks
# with one byte per weight.
DENSE_BYTES = 4 * sum((n_in + 1) * n_out for n_in, n_out in ACTOR + 2 * CRITIC)
ENV = "tests.toy_environments:PointMass-v0"


@pytest.fixture(autouse=True)
def _allow_rank_promotion():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def quick_loops(monkeypatch):
    monkeypatch.setattr(workload, "RANDOM_STEPS", 20)
    monkeypatch.setattr(workload, "WARM_UP", 20)


def check(report: Report) -> dict:
    """Checks what all reports have in common, and returns the results."""
    assert report.tables and all(report.tables) and report.samples
    for name, values in report.samples.items():
        assert values and min(values) > 0
        assert report.results[name] == median(values)
    return json.loads(json.dumps(report.results))


def test_update():
    """Measures the dense counterpart too, although only the sparse algorithm is named."""
    found = check(updates.update(1, 2, ("static_td3",), SIZES))
    assert found["static_td3_over_td3"] == found["static_td3_per_second"] / found["td3_per_second"]


def test_members(monkeypatch):
    static = workload.agent_config("static_td3", SIZES)
    dense = workload.agent_config("td3", SIZES)
    monkeypatch.setattr(
        updates, "agent_config", lambda algo, *_, **__: dense if algo == "td3" else static
    )
    found = check(updates.members(1, 2, 2, (2,), SIZES))
    assert found["ds_td3_over_td3_members_2"] > 0 and found["period_2_over_never"] > 0
    assert 4 * DENSE_BYTES < found["td3_members_2_state_bytes"] < 5 * DENSE_BYTES


def test_scale(monkeypatch):
    monkeypatch.setattr(updates, "WIDTH", 8)
    monkeypatch.setattr(updates, "FEWEST_UPDATES", 2)
    found = check(updates.scale(1, 2, "static_td3", (8,), (0.5,)))
    assert found["static_td3_8_0.5_over_dense"] > 0
    assert 4 * DENSE_BYTES < found["td3_8_0_state_bytes"] < 5 * DENSE_BYTES
    assert found["static_td3_8_0.5_scratch_bytes"] > 0


def test_loop(quick_loops):
    report = loops.loop(1, 20, ENV, ("td3",), SIZES)
    found = check(report)
    assert found["td3_call_over_scan"] > 0 and found["td3_loop_over_parts"] > 0
    for part in ("environment", "update in a scan", "one call a step", "whole loop"):
        assert part in report.tables[0]


def test_evaluation(quick_loops):
    assert (
        0 < check(loops.evaluation(1, 20, 1, (ENV,), "td3", SIZES))[f"{ENV}_evaluation_share"] < 1
    )


def test_episodes_of_evaluations_end_by_their_time_limit():
    environment = gymnasium.make(loops.never_terminating(ENV.replace("PointMass", "Drawn")))
    environment.reset(seed=0)
    for step in range(1, 9):
        *_, terminated, truncated, _ = environment.step(np.ones(1, np.float32))
        assert not terminated and truncated == (step == 8)


def test_a_method_is_called_as_often_as_requested():
    calls = []
    side = functions.repeated_side(lambda kernel: calls.append(1) or kernel, jnp.ones((2, 2)), 3)
    calls.clear()
    with jax.disable_jit():
        side()
    assert len(calls) == 3


def test_selection():
    assert check(functions.selection(1, 1, 16))["sort_over_search"] > 0


def test_sparsify():
    assert check(functions.sparsify(1, 2, 8, 1))["calls_in_sparsify_over_adamw"] > 0


def test_export():
    found = check(functions.export(1, 2, (0.0, 0.9)))
    assert found["0.9_bytes"] < found["0_bytes"]


def test_startup(monkeypatch):
    """The second start loads the program that the first one stored, and stores no other."""
    start, stored = startup.seconds_to_first_update, []

    def watched(arguments, run_directory, cache):
        seconds = start(arguments, run_directory, cache)
        stored.append([file.name for file in cache.glob("dsrl_jax/*/jit__step-*")])
        return seconds

    monkeypatch.setattr(startup, "seconds_to_first_update", watched)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # stores small ones too
    check(startup.startup(1, ENV, "td3", 20, 1, SIZES, "cpu"))
    assert len(stored[0]) == 1 and stored[0] == stored[1]
