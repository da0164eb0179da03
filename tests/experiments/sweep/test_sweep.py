"""Whole sweeps from the command line; the compiled program is a stand-in in NumPy."""

import csv
import io
import math
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.training import train as training
from dsrl_jax.training.policy import load_policy
from experiments import run
from experiments.report.read import read_runs
from experiments.sweep import command as sweep
from experiments.sweep import memory
from experiments.sweep.progress import SweepProgress
from tests.training.numpy_program import numpy_program

COMMAND = [
    "--env=tests.toy_environments:NanEpisode-v0",  # The third episode of seed 6 is one.
    "--batch_size=8",
    "--start_steps=20",
    "--eval_period=25",
    "--log_period=25",
    "--checkpoint_period=20",
    "--eval_episodes=2",
    "--steps=75",
]
LISTS = ["--seeds=5,6,7", "--tau=0.1,0.2", "--hidden_sizes=8,8;4", "--members_per_batch=4"]
# What an uninterrupted sweep's equal to the byte.
TABLES = ("evaluations.csv", "training.csv", "topology.csv")
REPORTS = ("members.csv", "curves.csv", "ranking.csv")
BATCHES = ("batch_1", "batch_2", "batch_3", "batch_4")


@pytest.fixture(scope="module", autouse=True)
def stand_in():
    def compile_program(agent, config, spaces, seeds, *, placement, freeze_nonfinite):
        assert freeze_nonfinite
        del agent, config
        return numpy_program(spaces, seeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "compile_program", compile_program)
        for name in ("JAX_PLATFORMS", "PJRT_NPROC", "XLA_FLAGS"):
            patch.setenv(name, os.environ.get(name, ""))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sweeps") / "first"
    assert sweep.main([*COMMAND, *LISTS, f"--run_dir={directory}"]) == 0
    return directory


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_leaves_batches_tables_and_a_picture(finished):
    assert {entry.name for entry in finished.iterdir()} == {
        *("sweep.json", "lock", "sweep.png", *REPORTS, *BATCHES)
    }
    members = rows(finished / "members.csv")
    assert [(m["batch"], m["member"]) for m in members] == [
        (str(batch), str(member)) for batch in (1, 2, 3, 4) for member in range(3)
    ]
    assert {(m["tau"], m["hidden_sizes"]) for m in members} == {
        (tau, sizes) for tau in ("0.1", "0.2") for sizes in ("8,8", "4")
    }
    for member in members:
        breaks = member["seed"] == "6"
        assert (0 < int(member["frozen_at"]) < 20) if breaks else member["frozen_at"] == ""
        assert (member["lca"] == "nan") == breaks
    curves = rows(finished / "curves.csv")
    assert len(curves) == 12 * 4 and [row["env_step"] for row in curves[:4]] == [
        *("0", "25", "50", "75")
    ]


def test_the_ranking_is_of_settings_over_seeds(finished):
    ranking, members = rows(finished / "ranking.csv"), rows(finished / "members.csv")
    assert [row["rank"] for row in ranking] == ["1", "2", "3", "4"]
    areas = [float(row["lca"]) for row in ranking]
    assert areas == sorted(areas, reverse=True)
    for row in ranking:
        own = [
            float(m["lca"])
            for m in members
            if (m["tau"], m["hidden_sizes"]) == (row["tau"], row["hidden_sizes"])
            and m["seed"] != "6"
        ]
        assert float(row["lca"]) == pytest.approx(sum(own) / 2)
        assert (row["seeds"], row["frozen"]) == ("3", "1")
        assert float(row["lca_low"]) == min(own) and float(row["lca_high"]) == max(own)


def test_a_finished_sweep_tells_again_what_it_told(finished, capsys):
    before = {name: (finished / name).read_bytes() for name in REPORTS}
    shutil.copytree(finished / "batch_1", finished.parent / "batch_1_before")
    assert sweep.main([*COMMAND, *LISTS, f"--run_dir={finished}"]) == 0
    assert "rank" in capsys.readouterr().out
    assert before == {name: (finished / name).read_bytes() for name in REPORTS}
    starts = (finished.parent / "batch_1_before/starts.jsonl").read_text()
    assert (finished / "batch_1/starts.jsonl").read_text() == starts  # Nothing was trained.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_sweep_ends_as_one_that_was_not(number, finished, tmp_path, monkeypatch, capsys):
    """By the same command, without the option that split it."""
    show, shown = SweepProgress.show, []

    def show_and_stop(self, row):
        show(self, row)
        shown.append((self.number, row["kind"], row["env_step"]))
        if shown[-1] == (2, "checkpoint", 40):
            os.kill(os.getpid(), number)

    directory = tmp_path / "cut"
    before = signal.signal(number, signal.default_int_handler)  # whoever started the tests
    with monkeypatch.context() as patch:
        patch.setattr(SweepProgress, "show", show_and_stop)
        status = sweep.main([*COMMAND, *LISTS, f"--run_dir={directory}"])
    assert signal.signal(number, before) is signal.default_int_handler
    assert status == 128 + number
    assert "stopped in batch 2 of 4, step 41, and saved" in capsys.readouterr().err
    assert not (directory / "ranking.csv").exists()
    monkeypatch.setattr(memory, "most_members", lambda each, there: 1)
    assert sweep.main([*COMMAND, *LISTS[:3], f"--run_dir={directory}"]) == 0
    for batch in BATCHES:
        for name in TABLES:
            ours, theirs = directory / batch / name, finished / batch / name
            assert ours.read_bytes() == theirs.read_bytes(), (batch, name)
    for name in REPORTS:
        assert (directory / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tau=0.1,0.3"], "tau is .* there and .* here; choose another --run_dir"),
        (["--seeds=0:2"], "seeds is"),
        (["--members_per_batch=2"], "in batches of up to 3 members, got members_per_batch 2"),
        (["--noresume"], "leave out --noresume"),
        (["--steps=50"], "can be raised, not lowered"),
        (["--steps=75,100"], "in groups of 6,6 members, here they are of 6,6,6,6: choose"),
    ],
)
def test_another_sweep_is_refused(arguments, message, finished, capsys):
    before = sorted(path for path in finished.rglob("*"))
    assert sweep.main([*COMMAND, *LISTS, f"--run_dir={finished}", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert re.search(message, said), said
    assert before == sorted(path for path in finished.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tau=0.1,2"], "tau must be in [0, 1], got 2.0"),
        (["--tau=0.1,,0.2"], "--tau must be a number, got ''"),
        (["--tau=0.1,0.1"], "--tau names 0.1 twice"),
        (["--algo=td3,ds_tdd3"], "algo must be one of"),
        (["--env=ant,hopper"], "a sweep takes one --env, got ant,hopper"),
        (["--algo=td3,td3"], "--algo names td3 twice"),
        (["--preset=paper,officially"], "preset must be one of"),
        (["--seeds=3:3"], "--seeds must name at least one seed"),
        (["--seed=1", "--seeds=0:2"], "give either --seed or --seeds"),
        (["--members_per_batch=0"], "--members_per_batch must be at least 1, got 0"),
        (["--members_per_batch=many"], "--members_per_batch must be a whole number"),
        (["--num_envs=1,2"], "num_envs is a setting of backend brax"),
        (["--tua=0.1"], "unknown flag --tua; did you mean --tau"),
        (["--device=fpga"], "--device must be one of"),
        (["--devices=2"], "--devices is of a single run"),
        (["--distributed=auto"], "--distributed is of a single run"),
        (["--initial_policy=runs/policy"], "--initial_policy is of a single run"),
        (["--sparsity=0.5,0.9999"], "sparsity must be at most"),
        (["--env=Nowhere-v0"], "Nowhere"),
    ],
)
def test_what_cannot_be_swept_is_one_line_and_leaves_nothing(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert sweep.main([*COMMAND, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and message in said
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_told_without_jax():
    program = (
        "import sys; from experiments.sweep import command as sweep\n"
        "assert sweep.main(['--tau=0.1,0.2,x', '--algo=ds_td3']) == 2\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_a_dry_run_tells_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sweep.main([*COMMAND, *LISTS, "--dry_run"]) == 0
    told = capsys.readouterr().out
    assert "12 members (hidden_sizes 2 x tau 2 x seeds 3), 900 steps in all" in told
    assert "group 2 (hidden_sizes 4): 6 members in 2 batches of up to 3; about" in told
    assert not list(tmp_path.iterdir())


def test_too_many_for_the_memory_are_split(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "needed", lambda experiment, spaces: memory.Needed(10e6, 0))
    arguments = [*COMMAND, "--seeds=0:10", "--hidden_sizes=8", "--dry_run"]
    # Of 60 MB 0.8 are taken: 4 members fit.
    for room, batches in [(60e6, "3 batches of up to 4"), (125e6, "one batch of up to 10")]:
        monkeypatch.setattr(memory, "free", lambda experiment, room=room: memory.Free(room, None))
        assert sweep.main(arguments) == 0
        estimate = f"about 10.0 MB a member on the host of {room / 1e6:.0f} MB free"
        assert f"10 members in {batches}; {estimate}" in capsys.readouterr().out


def test_as_many_fit_as_the_memory_that_is_known_holds():
    assert memory.most_members(memory.Needed(10, 0), memory.Free(60, None)) == 4
    assert memory.most_members(memory.Needed(10, 10), memory.Free(60, 30)) == 2
    assert memory.most_members(memory.Needed(10, 0), memory.Free(1, None)) == 1
    assert memory.most_members(memory.Needed(10, 0), memory.Free(None, 5)) is None


def test_a_members_policy_is_found_by_its_number(finished):
    with pytest.raises(ValueError, match="seed must be one of 5, 6, 7, got 4"):
        load_policy(finished / "batch_1", seed=4)
    with pytest.raises(ValueError, match="member must be from 0 to 2, .*, got 3"):
        load_policy(finished / "batch_1", member=3)
    with pytest.raises(ValueError, match="member must be"):
        load_policy(finished / "batch_1", seed=7, member=0)


def test_a_report_names_each_members_method(tmp_path):
    directory = tmp_path / "sweep"
    lists = ["--algo=td3,static_td3,ds_td3", "--seeds=5,6", "--tau=0.1,0.005"]
    assert sweep.main([*COMMAND, *lists, f"--run_dir={directory}"]) == 0
    methods = [run.method for run in read_runs([directory])[0]]
    assert [method.algo for method in methods] == [
        algo for algo in ("td3", "static_td3", "ds_td3") for _ in range(4)
    ]
    assert {dict(method.changes).get("tau", 0.005) for method in methods} == {0.1, 0.005}
    assert not any("lambda1" in dict(method.changes) for method in methods)


def test_a_plain_run_is_refused_where_a_batch_is(finished, capsys):
    batch = finished / "batch_3"
    plain = [*COMMAND, "--seeds=5,6,7", "--hidden_sizes=4", "--tau=0.1", f"--run_dir={batch}"]
    assert run.main(plain) == 2
    assert "freezes is True there and False here" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def minutes_left(line):
    told = [part for part in line.split(", ") if part.endswith(" minutes left")]
    return float(told[0].split()[0]) if told else None


def test_the_time_of_a_sweep_is_told_by_steps_with_updates(monkeypatch, capsys):
    """Two members, then one; ten steps take a second without updates, a minute with them."""
    clock = 0.0
    monkeypatch.setattr("experiments.sweep.progress.time.perf_counter", lambda: clock)
    progress = SweepProgress([(n, LoopConfig(steps=50, start_steps=15)) for n in (2, 1)])
    for members in (2, 1):
        progress.begin()
        progress.show({"kind": "start", "env_step": 0})
        for step in (10, 20, 30, 40, 50):
            clock += 60.0 if step > 20 else 1.0
            for value in range(members):
                progress.show({"kind": "evaluation", "env_step": step, "return_mean": float(value)})
    told = [minutes_left(line) for line in capsys.readouterr().err.splitlines()]
    # Of the first batch a member's step takes 3 s; in both, 8.0 of 100 and 50 steps do.
    first = [None, None, *(left * 3 / 60 for left in (90, 70, 50))]
    second = [40 * 3 / 60, 30 * 3 / 60, 20 * 240 / 70 / 60, 10 * 300 / 80 / 60, 0.0]
    assert told == [None if left is None else round(left, 1) for left in first + second]


def test_the_time_of_batches_of_one_interval_is_told_by_the_batches_before(monkeypatch, capsys):
    clock = 0.0
    monkeypatch.setattr("experiments.sweep.progress.time.perf_counter", lambda: clock)
    progress = SweepProgress([(1, LoopConfig(steps=50, start_steps=15)) for _ in range(3)])
    for _ in range(2):
        progress.begin()
        progress.show({"kind": "start", "env_step": 0})
        for step in (0, 50):
            progress.show({"kind": "evaluation", "env_step": step, "return_mean": 1.0})
            clock += 60.0
    told = [minutes_left(line) for line in capsys.readouterr().err.splitlines()]
    assert told == [None, None, 2.0, 1.0]


def test_the_time_of_a_sweep_that_goes_on_is_told_from_its_first_line_on(monkeypatch, capsys):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("experiments.sweep.progress.time.perf_counter", lambda: next(clock))
    progress = SweepProgress([(1, LoopConfig(steps=50, start_steps=15))])
    progress.begin()
    progress.show({"kind": "start", "env_step": 30})
    progress.show({"kind": "evaluation", "env_step": 40, "return_mean": 1.0})
    assert minutes_left(capsys.readouterr().err) == 0.5


def test_there_is_one_bar_for_all_batches(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    sizes = ((2, 100), (3, 100), (1, 50))
    progress = SweepProgress([(members, LoopConfig(steps=steps)) for members, steps in sizes])
    progress.begin()  # Done already.
    progress.begin()
    progress.show({"kind": "start", "env_step": 50})
    assert progress.bar.total == 550 and progress.bar.n == progress.bar.initial == 200 + 150
    for value in (1.0, math.nan, 4.0):
        progress.show({"kind": "evaluation", "env_step": 100, "return_mean": value})
    assert progress.bar.n == 500
    assert progress.bar.postfix == "batch=2 of 3, return=2.5, best=4.0, frozen=1"
    progress.show({"kind": "note", "env_step": 100, "text": "member 1 is frozen"})
    progress.begin()
    bar = progress.bar
    progress.show({"kind": "start", "env_step": 0})
    progress.show({"kind": "training", "env_step": 50})
    assert progress.bar is bar and bar.n == 550
    progress.close()
    assert "warning: batch 2: member 1 is frozen" in terminal.getvalue()
