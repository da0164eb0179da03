"""Every benchmark measures, tiny, and finds what its aims ask for; nothing here tells how fast."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from experiments.bench import (
    checkpoint,
    document,
    evaluation,
    export,
    loop,
    members,
    parts,
    peers,
    scale,
    selection,
    sparsify,
    startup,
    whole_loop,
)
from experiments.bench.command import BENCHMARKS
from experiments.bench.measure import MeasurementError, Report, median
from experiments.cli.values import UsageError

ROOT = document.ROOT
SIZES = (8,)
ENV = "tests.toy_environments:PointMass-v0"

# What `document` measures, what each finds that has an aim, and a page before it.
EVERY = [name for name in BENCHMARKS if name != "document"]
AIMED = {aim.key: 1.5 for aim in document.AIMS}
OLD = f"{document.BEGIN}\nold\n{document.END}\n"


@pytest.fixture(autouse=True)
def _allow_rank_promotion():
    with jax.numpy_rank_promotion("allow"):
        yield


def check(name: str, report: Report, **renamed: str) -> None:
    """What holds of every report; its aims are found under keys in which parts are `renamed`."""
    assert report.tables and all(report.tables)
    for key, values in report.samples.items():
        assert values and min(values) > 0
        assert report.results[key] == median(values)
    for aim in document.AIMS:
        if aim.benchmark == name:
            key = aim.key
            for part, measured in renamed.items():
                key = key.replace(part, measured)
            assert report.results[key] > 0
    json.dumps(report.results)


@pytest.fixture
def quick_loops(monkeypatch):
    monkeypatch.setattr(whole_loop, "RANDOM_STEPS", 20)
    monkeypatch.setattr(whole_loop, "ADAPTED", 20)


def test_loop(quick_loops):
    report = loop.run(1, 20, ENV, ("td3",), SIZES)
    check("loop", report, ds_td3="td3", ds_sac="td3")
    for part in ("environment alone", "update in a scan", "one call a step", "whole loop"):
        assert part in report.tables[0]


def test_scale(monkeypatch):
    monkeypatch.setattr(scale, "WIDTH", 8)
    report = scale.run(1, 2, "ds_td3", (8,), (0.5,), ("hopper",))
    check("scale", report)
    assert report.results["ds_td3_8_0.5_over_dense"] > 0 and "hopper" in report.tables[1]


def test_every_part_of_an_update_is_found(monkeypatch):
    """Among updates of which one adapts."""
    monkeypatch.setattr(parts, "agent_config", partial(parts.agent_config, period=20))
    found = parts.run(20, ("ds_td3",), SIZES).results
    for part in parts.PARTS:
        assert found[f"ds_td3_{part}_microseconds"] > 0, part


def test_members():
    report = members.run(1, 2, 20, (2,), SIZES)
    check("members", report)
    assert report.results["ds_td3_over_td3_members_2"] > 0 and "never" in report.tables[1]


def test_checkpoint(quick_loops):
    report = checkpoint.run(1, 20, (ENV,), "td3", (30,), 10)
    check("checkpoint", report)
    assert report.results[f"{ENV}_30_replay_bytes"] == 30 * 4 * (2 + 1 + 3)


def test_a_method_is_called_as_often_as_is_said():
    calls = []
    side = selection.repeated_side(lambda kernel: calls.append(1) or kernel, jnp.ones((2, 2)), 3)
    calls.clear()
    with jax.disable_jit():
        side()
    assert len(calls) == 3


def test_selection():
    report = selection.run(1, 1, 16)
    check("selection", report)
    assert report.results["sort_over_search"] > 0


def test_sparsify():
    check("sparsify", sparsify.run(1, 2, 8, 2))


def test_export():
    report = export.run(1, 2, (0.0, 0.9))
    check("export", report)
    assert report.results["0.9_bytes"] < report.results["0_bytes"]


def test_evaluation(quick_loops):
    check("evaluation", evaluation.run(1, 20, 1, (ENV,), "td3", SIZES), halfcheetah=ENV)


def test_startup(monkeypatch):
    """The second start asks for the program that the first one kept, and for no other."""
    start, kept = startup.seconds_to_first_update, []

    def watched(arguments, run_directory, cache):
        seconds = start(arguments, run_directory, cache)
        kept.append([file.name for file in cache.glob("dsrl_jax/*/jit__step-*")])
        return seconds

    monkeypatch.setattr(startup, "seconds_to_first_update", watched)
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # However small.
    check("startup", startup.run(1, ENV, "td3", 20, 1, SIZES, "cpu"))
    assert len(kept[0]) == 1 and kept[0] == kept[1]


PEER = """#!{python}
import sys
if "-c" in sys.argv:
    print("sbx-rl 0.0")
else:
    ours = any("peers_ours" in argument for argument in sys.argv)
    assert sys.argv[-2:] == ["4000", "5000"]
    print('{{"seconds": %d}}' % (10 if ours else 25))
"""


def test_peers(monkeypatch, tmp_path):
    """Both sides are stand-ins that tell their seconds; ours takes ten and theirs 25."""
    interpreter = tmp_path / "python"
    interpreter.write_text(PEER.format(python=sys.executable))
    interpreter.chmod(0o755)
    monkeypatch.setattr(peers.sys, "executable", str(interpreter))
    report = peers.run(1, str(interpreter), 2000, 5000)
    monkeypatch.undo()
    check("peers", report)
    assert report.results["ds_td3_steps_per_second"] == 500
    assert report.results["ds_td3_over_sbx_td3"] == report.results["ds_sac_over_sbx_sac"] == 2.5
    assert report.results["peer_versions"] == "sbx-rl 0.0"


def test_a_loop_of_ours_and_of_a_peer_begin_to_count_at_one_step():
    # The first row of training, every 5,000 steps, that comes after 2,000 updates and 1,000 steps.
    assert peers.round_up(2000, 5000) + 1000 == 5000
    assert peers.round_up(4000, 5000) + 1000 == 5000
    assert peers.round_up(4001, 5000) + 1000 == 10_000


def test_what_was_found_is_written_between_the_marks(monkeypatch, tmp_path):
    """With one benchmark run as it is and made-up figures for the others."""
    commit = document.describe_machine()["commit"]
    machine = {"commit": commit, "cpu": "a CPU", "cores": 2, "versions": {"jax": "0"}}
    machine |= {"device": "cpu cpu", "threads": None}
    measure, asked = document.measure, {}

    def stand_in(name, flags):
        asked[name] = flags
        if name == "update":
            page.write_text(page.read_text().replace("after", "edited meanwhile"))
        if name == "selection":
            return measure(name, ["--repetitions=1", "--calls=1", "--size=8"])
        return f"{name}: of {name}\ntable of {name}", {**AIMED, "machine": machine}

    monkeypatch.setattr(document, "measure", stand_in)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
    document.run(str(page), None, "cpu", None, str(tmp_path))
    text = page.read_text()
    assert asked.keys() == BENCHMARKS.keys() - {"document", "peers"}
    assert asked["update"] == ["--device=cpu"] and "--threads=1" in asked["export"]
    assert text.startswith("before\n") and text.endswith("edited meanwhile\n") and "old" not in text
    assert (
        f"Measured on {time.strftime('%Y-')}" in text
        and f"at commit {commit}" in text
        and "2 cores, on cpu with all threads; jax 0" in text
        and "table of update" in text
        and "8x8, 32 kept" in text
    )
    assert "| at least 0.9 | 1.5 | yes |" in text and "not measured" in text

    monkeypatch.setattr(document, "find_interpreter", lambda python: None)
    document.run(str(page), "some/python", "cpu", 1, str(tmp_path))
    assert (
        asked["peers"] == ["--python=some/python", "--threads=1"]
        and asked["export"] == ["--device=cpu", "--threads=1"]
        and "not measured" not in page.read_text()
    )


@pytest.fixture
def documented(monkeypatch, tmp_path):
    """`document` with made-up tables, and what a test may change of them.

    page: what it writes into; kept: its folder of tables
    machine: what it says to be on; elsewhere: what a benchmark by name says otherwise
    failing: the benchmarks that fail; asked: those that were measured, in order
    run: it; takes the threads
    """
    page, kept = tmp_path / "page.md", tmp_path / "kept"
    page.write_text(OLD)
    machine = document.describe_machine() | {"commit": "abc"}
    elsewhere, failing, asked = {}, set(), []

    def stand_in(name, flags):
        asked.append(name)
        if name in failing:
            raise MeasurementError(f"{name} failed")
        measured_on = machine | {"threads": None} | elsewhere.get(name, {})
        return f"{name}: of {name}\ntable {len(asked)}", {**AIMED, "machine": measured_on}

    monkeypatch.setattr(document, "measure", stand_in)
    monkeypatch.setattr(document, "find_interpreter", lambda python: None)
    monkeypatch.setattr(document, "describe_machine", lambda: dict(machine))
    run = partial(document.run, str(page), "some/python", "cpu", kept=str(kept))
    return SimpleNamespace(
        page=page,
        kept=kept,
        machine=machine,
        elsewhere=elsewhere,
        failing=failing,
        asked=asked,
        run=run,
    )


def test_what_was_measured_before_one_failed_is_not_measured_again(documented):
    documented.failing.add("peers")
    with pytest.raises(MeasurementError, match="peers failed; .*kept keeps what is measured"):
        documented.run(None)
    assert documented.asked == EVERY and documented.page.read_text() == OLD

    documented.failing.clear()
    documented.run(None)
    assert documented.asked == [*EVERY, "peers"]
    assert "table 1\n" in documented.page.read_text() and not list(documented.kept.iterdir())


def test_tables_of_two_commits_do_not_stand_together(documented):
    documented.elsewhere["peers"] = {"commit": "another"}
    with pytest.raises(MeasurementError, match="peers is of commit another, .* abc: .*kept keeps"):
        documented.run(None)
    assert documented.page.read_text() == OLD

    documented.elsewhere.clear()
    documented.run(None)
    assert documented.asked == [*EVERY, "peers"]


@pytest.mark.parametrize(
    ("before", "now", "threads"),
    [
        ({}, {"commit": "another"}, None),
        ({}, {"cpu": "another"}, None),
        ({}, {}, 1),
        # Files that differ from the commit could be others than those that did.
        ({"commit": "abc+"}, {}, None),
    ],
)
def test_what_was_measured_otherwise_is_measured_again(documented, before, now, threads):
    documented.failing.add("loop")
    documented.machine.update(before)
    with pytest.raises(MeasurementError, match="loop failed"):
        documented.run(None)
    documented.asked.clear()
    documented.machine.update(now)
    with pytest.raises(MeasurementError, match="loop failed"):
        documented.run(threads)
    assert documented.asked == ["update", "loop"]


def test_a_benchmark_that_fails_writes_nothing(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(OLD)
    with pytest.raises(UsageError, match="--python=/none cannot be run"):
        document.run(str(page), "/none", "cpu", None, str(tmp_path))
    with pytest.raises(MeasurementError, match="--size=1 failed: --size must be"):
        document.measure("selection", ["--size=1"])
    monkeypatch.setattr(document, "measure", lambda name, flags: ("", {}))
    with pytest.raises(KeyError):
        document.run(str(page), None, "cpu", None, str(tmp_path))
    assert page.read_text() == OLD


ASKS = """
import pathlib, signal, sys
from experiments.bench.command import end_by_exception
from experiments.bench.measure import ask

signal.signal(signal.SIGTERM, end_by_exception)
tells = f"import os, time; print(os.getpid(), file=open({sys.argv[1]!r}, 'w'), flush=True)"
ask([sys.executable, "-c", f"{tells}; time.sleep(60)"], pathlib.Path())
"""


def test_a_process_that_is_measured_ends_with_the_one_that_asks(tmp_path):
    started = tmp_path / "started"
    process = subprocess.Popen([sys.executable, "-c", ASKS, str(started)], cwd=ROOT)
    while not (started.exists() and started.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
