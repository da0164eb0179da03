"""Measuring in turn, medians, ratios and reports on made-up numbers, and the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from dsrl_jax.config.loop import LoopConfig
from experiments import bench
from experiments.bench import measure

ROOT = Path(__file__).parents[3]


def test_sides_are_measured_in_turn():
    order = []

    def side(name, seconds):
        return lambda: order.append(name) or seconds

    found = measure.in_turn({"a": side("a", 1.0), "b": side("b", 2.0)}, 3)
    assert order == ["a", "b"] * 3
    assert found == {"a": [1.0] * 3, "b": [2.0] * 3}


def test_a_timed_side_counts_its_call():
    clock = iter([3.0, 7.5])
    assert measure.timed(lambda: None, lambda: next(clock))() == 4.5


def test_medians_and_their_ratio():
    fast, slow = measure.rates([1.0, 2.0, 100.0], 10), measure.rates([4.0, 5.0, 4.0], 10)
    assert fast == [10, 5, 0.1]
    assert measure.median(fast) == 5
    assert measure.ratio(slow, fast) == 0.5
    assert measure.spread([1234.4, 0.123456, 123.4]) == ["123", "0.123", "1,234"]


def test_a_table_is_aligned():
    assert measure.table(["name", "rate"], [["a", "1"], ["longer", "1,000"]]).splitlines() == [
        "name     rate",
        "a           1",
        "longer  1,000",
    ]


def test_share_of_evaluations():
    """Eleven evaluations of two seconds in a run of 1,000 steps at 10 per second."""
    from experiments.bench.loops import evaluation_share

    loop = LoopConfig(steps=1000, eval_period=100)
    assert evaluation_share(2.0, 10.0, loop) == pytest.approx(22 / 122)


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], ["update", "peers"]),
        (["updat"], ["'updat'", "did you mean update"]),
        (["update", "loop"], ["'loop'"]),
        (["update", "--update=3"], ["--update", "--updates"]),
        (["update", "--updates=0"], ["updates", "0"]),
        (["update", "--hidden_sizes=8,x"], ["hidden_sizes", "'8,x'"]),
        (["members", "--members=1,0"], ["members", "at least 1"]),
        (["loop", "--algos=ds_td3,ds_tdd3"], ["'ds_tdd3'", "ds_td3"]),
        (["evaluation", "--envs=halfcheeta"], ["'halfcheeta'", "halfcheetah"]),
        (["scale", "--sparsities=0.5,1"], ["sparsities", "below 1", "1.0"]),
        (["scale", "--sparsities=0.995"], ["--widths=256: sparsity must be at most", "0.995"]),
        (["members", "--adaptation_period=251"], ["multiple of policy_delay", "251"]),
        (["update", "--algos=td3,td3"], ["--algos", "td3 twice"]),
        (["members", "--members=2,1,2"], ["--members", "2 twice"]),
        (["scale", "--algo=td3"], ["--algo", "static_td3", "got td3"]),
        (["selection", "--size=1"], ["--size", "at least 2"]),
        (["loop", "--env=CartPole-v1"], ["CartPole-v1", "Box"]),
        (["update", "update"], ["'update'"]),
        (["peers", "--device=gpu"], ["--device", "cpu for peers", "got gpu"]),
        (["scale", "--sparsities=half"], ["sparsities", "numbers: 0.5,0.9", "'half'"]),
        (["peers"], ["--python", "pip install sbx-rl"]),
        (["peers", "--python=/none"], ["--python=/none", "cannot be run"]),
        (["peers", f"--python={sys.executable}"], ["lacks sbx-rl", "pip install sbx-rl"]),
    ],
)
def test_wrong_command_lines_fail_in_one_line(capsys, arguments, named):
    assert bench.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    for part in named:
        assert part in error


@pytest.mark.parametrize("name", ["", *bench.BENCHMARKS])
def test_help_lists_benchmarks_and_flags(capsys, name):
    assert bench.main([*([name] if name else []), "--help"]) == 0
    out = capsys.readouterr().out
    assert "--threads" in out if name else all(known in out for known in bench.BENCHMARKS)


def test_json_is_the_last_line(capsys):
    assert bench.main("selection --repetitions=3 --calls=1 --size=8 --json".split()) == 0
    out = capsys.readouterr().out
    assert "8x8, 32 kept" in out and "lowest" in out and "highest" in out
    found = json.loads(out.splitlines()[-1])
    assert found["benchmark"] == "selection" and found["settings"]["size"] == 8
    machine = found["machine"]
    assert machine["versions"]["jax"] and machine["cores"] and "commit" in machine
    assert all(len(values) == 3 for values in found["samples"].values())
    assert found["search_microseconds"] == measure.median(found["samples"]["search_microseconds"])
    assert found["sort_over_search"] == pytest.approx(
        found["sort_microseconds"] / found["search_microseconds"]
    )


def test_a_failed_measurement_exits_with_1(monkeypatch, capsys):
    from experiments.bench import functions

    def fail(**_):
        raise measure.MeasurementError("it failed")

    monkeypatch.setattr(functions, "selection", fail)
    assert bench.main(["selection"]) == 1
    assert capsys.readouterr().err == "error: it failed\n"


@pytest.fixture(autouse=True)
def _same_signal_handler():
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_report_of_members():
    """Made-up rates and bytes; memory is reported per member."""
    from experiments.bench import updates
    from experiments.bench.workload import Memory

    rates = {("td3", 1): [100.0], ("ds_td3", 1): [80.0]}
    rates |= {("td3", 4): [200.0], ("ds_td3", 4): [120.0]}
    memories = {size: Memory(3000 * size[1], 1000 * size[1]) for size in rates}
    report = updates.members_report(rates, memories)
    assert report.results["ds_td3_over_td3_members_4"] == 0.6
    assert report.results["ds_td3_members_4_state_bytes"] == 3000
    assert report.results["td3_members_4_scratch_bytes"] == 1000
    assert "of 1 member" in report.tables[0] and "1.50" in report.tables[0]


@pytest.fixture
def timed_members(monkeypatch):
    """Runs `members` on stand-ins: 1,000 updates take 2.1 s with an adaptation, otherwise 2 s.

    Takes the number of members that fit into memory.
    """
    from experiments.bench import updates
    from experiments.bench.workload import Memory, Scan

    taken = {1000: 2.1, updates.NEVER: 2.0}

    def run(fitting):
        def compile_scan(config, number, size):
            if size > fitting:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return Scan(None, None, config.sparse.adaptation_period, number, Memory(1, 1))

        monkeypatch.setattr(updates, "compile_scan", compile_scan)
        return updates.members(1, 100, 1000, (1, 2), (8,))

    monkeypatch.setattr(updates, "scan_side", lambda scan: lambda: taken[scan.first])
    return run


def test_cost_of_an_adaptation(timed_members):
    report = timed_members(2)
    assert report.results["period_1000_over_never"] == pytest.approx(1.05)
    assert report.samples["period_1000_seconds"] == pytest.approx([0.0021])
    assert "1.050" in report.tables[1] and "2 members" in report.tables[1]


def test_members_that_do_not_fit_are_left_out(timed_members):
    found = timed_members(1).results
    assert found["period_1000_over_never"] == pytest.approx(1.05)
    assert "ds_td3_over_td3_members_1" in found and "ds_td3_over_td3_members_2" not in found
    with pytest.raises(measure.MeasurementError, match="--members=1 does not fit .* fewer members"):
        timed_members(0)


def test_a_scan_side_continues_from_the_last_update():
    from experiments.bench import workload

    started = []

    def run(state, first):
        started.append((state, int(first)))
        return state + 1

    side = workload.scan_side(workload.Scan(run, 0, 1000, 50, workload.Memory(1, 1)))
    assert side() > 0 and side() > 0
    assert started == [(0, 1000), (1, 1050), (2, 1100)]


def test_a_run_is_timed_between_rows_after_its_warm_up(monkeypatch):
    from experiments.bench import workload

    training = [{"kind": "training", "updates": number} for number in (10, 20, 30, 40)]
    rows = [row for each in training for row in (each, {"kind": "evaluation"}, {"kind": "timing"})]
    monkeypatch.setattr(workload.train, "run", lambda experiment: iter(rows))
    left = workload.start_run(None, 11)
    assert workload.row_side(left, "timing")() > 0
    assert workload.row_side(left, "training")() > 0
    assert list(left) == rows[rows.index(training[2]) + 1 :]


PEER = """#!{python}
import sys
if "-c" in sys.argv:
    print("sbx-rl 0.0")
else:
    ours = "experiments.bench.peers" in sys.argv
    assert sys.argv[-2:] == ["4000", "5000"]
    print('{{"seconds": %d}}' % (10 if ours else 25))
"""


def test_peers(monkeypatch, tmp_path):
    """Both sides are stand-ins that report their seconds: ours take 10, and theirs 25."""
    from experiments.bench import peers

    interpreter = tmp_path / "python"
    interpreter.write_text(PEER.format(python=sys.executable))
    interpreter.chmod(0o755)
    monkeypatch.setattr(peers.sys, "executable", str(interpreter))
    report = peers.peers(1, str(interpreter), 2000, 5000)
    assert report.results["ds_td3_steps_per_second"] == 500
    assert report.results["ds_td3_over_sbx_td3"] == report.results["ds_sac_over_sbx_sac"] == 2.5
    assert report.results["peer_versions"] == "sbx-rl 0.0" and "2.50" in report.tables[0]


def test_both_loops_are_measured_from_the_same_step():
    from experiments.bench.peers import round_up

    # Ours logs every 5,000 steps, and makes 1,000 steps before the first update.
    assert round_up(2000, 5000) + 1000 == 5000
    assert round_up(4000, 5000) + 1000 == 5000
    assert round_up(4001, 5000) + 1000 == 10_000


ASKS = """
import pathlib, signal, sys
from experiments.bench.command import exit_on_signal
from experiments.bench.measure import ask

signal.signal(signal.SIGTERM, exit_on_signal)
child = f"import os, time; print(os.getpid(), file=open({sys.argv[1]!r}, 'w'), flush=True)"
ask([sys.executable, "-c", f"{child}; time.sleep(60)"], pathlib.Path())
"""


def test_a_measured_process_ends_with_the_one_that_started_it(tmp_path):
    started = tmp_path / "started"
    process = subprocess.Popen([sys.executable, "-c", ASKS, str(started)], cwd=ROOT)
    while not (started.exists() and started.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_failed_process_is_quoted():
    with pytest.raises(measure.MeasurementError, match="failed: no room$"):
        measure.ask([sys.executable, "-c", "raise SystemExit('error: no room')"], ROOT)
