"""Whole sweeps from the command line, with a stand-in in NumPy for the compiled program."""

import csv
import io
import math
import re
import shutil
import signal
import sys

import pytest

from dsrl_jax.config.loop import LoopConfig
from dsrl_jax.training.policy import load_policy
from experiments import run
from experiments.report.read import read_runs
from experiments.sweep import command as sweep
from experiments.sweep import memory
from experiments.sweep.train import SweepProgress

COMMAND = [
    "--env=tests.toy_environments:NanEpisode-v0",  # NaN in the third episode of seed 6.
    "--batch_size=8",
    "--start_steps=20",
    "--eval_period=25",
    "--log_period=25",
    "--checkpoint_period=20",
    "--eval_episodes=2",
    "--steps=75",
]
LISTS = ["--seeds=5,6,7", "--tau=0.1,0.2", "--hidden_sizes=8,8;4", "--members_per_batch=4"]
# The files that equal an uninterrupted sweep's to the byte.
TABLES = ("evaluations.csv", "training.csv", "topology.csv")
REPORTS = ("members.csv", "curves.csv", "ranking.csv")
BATCHES = ("batch_1", "batch_2", "batch_3", "batch_4")


pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, stand_in):
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


def test_a_finished_sweep_reports_again(finished, capsys):
    before = {name: (finished / name).read_bytes() for name in REPORTS}
    shutil.copytree(finished / "batch_1", finished.parent / "batch_1_before")
    assert sweep.main([*COMMAND, *LISTS, f"--run_dir={finished}"]) == 0
    assert "rank" in capsys.readouterr().out
    assert before == {name: (finished / name).read_bytes() for name in REPORTS}
    starts = (finished.parent / "batch_1_before/starts.jsonl").read_text()
    assert (finished / "batch_1/starts.jsonl").read_text() == starts  # Nothing was trained.


def test_a_sweep_that_was_stopped_twice_ends_as_one_that_was_not(
    finished, tmp_path, monkeypatch, capsys
):
    """Continued without the option that split it; SIGTERM in batch 2, Ctrl-C in batch 3."""
    show = SweepProgress.show
    directory = tmp_path / "cut"
    arguments = [*COMMAND, *LISTS, f"--run_dir={directory}"]
    for number, batch in ((signal.SIGTERM, 2), (signal.SIGINT, 3)):

        def show_and_stop(self, row, number=number, batch=batch):
            show(self, row)
            if (self.number, row["kind"], row["env_step"]) == (batch, "checkpoint", 40):
                signal.raise_signal(number)

        before = signal.signal(number, signal.default_int_handler)  # the test runner's handler
        with monkeypatch.context() as patch:
            patch.setattr(SweepProgress, "show", show_and_stop)
            assert sweep.main(arguments) == 128 + number
        assert signal.signal(number, before) is signal.default_int_handler
        assert f"stopped in batch {batch} of 4, step 41, and saved" in capsys.readouterr().err
        assert not (directory / "ranking.csv").exists()
        arguments = [*COMMAND, *LISTS[:3], f"--run_dir={directory}"]
        monkeypatch.setattr(memory, "most_members", lambda each, there: 1)
    assert sweep.main(arguments) == 0
    for name in [f"{batch}/{name}" for batch in BATCHES for name in TABLES] + [*REPORTS]:
        assert (directory / name).read_bytes() == (finished / name).read_bytes(), name


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
def test_another_sweep_in_the_directory_is_an_error(arguments, message, finished, capsys):
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
        (["--devices=2"], "--devices is a flag of experiments.run"),
        (["--distributed=auto"], "--distributed is a flag of experiments.run"),
        (["--initial_policy=runs/policy"], "--initial_policy is a flag of experiments.run"),
        (["--sparsity=0.5,0.9999"], "sparsity must be at most"),
        (["--env=Nowhere-v0"], "Nowhere"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_leaves_nothing(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert sweep.main([*COMMAND, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and message in said
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prints_the_plan_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sweep.main([*COMMAND, *LISTS, "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert "12 members (hidden_sizes 2 x tau 2 x seeds 3), 900 steps in all" in text
    assert "group 2 (hidden_sizes 4): 6 members in 2 batches of up to 3; about" in text
    assert not list(tmp_path.iterdir())


def test_members_that_do_not_fit_into_memory_are_split(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "needed", lambda experiment, spaces: memory.Needed(10e6, 0))
    arguments = [*COMMAND, "--seeds=0:10", "--hidden_sizes=8", "--dry_run"]
    # 80 % of 60 MB are used: 4 members fit.
    for room, batches in [(60e6, "3 batches of up to 4"), (125e6, "one batch of up to 10")]:
        monkeypatch.setattr(memory, "free", lambda experiment, room=room: memory.Free(room, None))
        assert sweep.main(arguments) == 0
        estimate = f"about 10.0 MB a member on the host of {room / 1e6:.0f} MB free"
        assert f"10 members in {batches}; {estimate}" in capsys.readouterr().out


def test_as_many_members_fit_as_the_known_memory_holds():
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


def test_a_plain_run_cannot_continue_a_batch(finished, capsys):
    batch = finished / "batch_3"
    plain = [*COMMAND, "--seeds=5,6,7", "--hidden_sizes=4", "--tau=0.1", f"--run_dir={batch}"]
    assert run.main(plain) == 2
    assert "freezes is True there and False here" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def minutes_left(line):
    found = [part for part in line.split(", ") if part.endswith(" minutes left")]
    return float(found[0].split()[0]) if found else None


def test_the_time_of_a_sweep_is_predicted_by_steps_with_updates(monkeypatch, capsys):
    """Two members, then one; ten steps take a second without updates and a minute with them."""
    clock = 0.0
    monkeypatch.setattr("experiments.sweep.train.time.perf_counter", lambda: clock)
    progress = SweepProgress([(n, LoopConfig(steps=50, start_steps=15)) for n in (2, 1)])
    for members in (2, 1):
        progress.begin()
        progress.show({"kind": "start", "env_step": 0})
        for step in (10, 20, 30, 40, 50):
            clock += 60.0 if step > 20 else 1.0
            for value in range(members):
                progress.show({"kind": "evaluation", "env_step": step, "return_mean": float(value)})
    shown = [minutes_left(line) for line in capsys.readouterr().err.splitlines()]
    # A step of one member takes 3 s in the first batch, more in the second.
    first = [None, None, *(left * 3 / 60 for left in (90, 70, 50))]
    second = [40 * 3 / 60, 30 * 3 / 60, 20 * 240 / 70 / 60, 10 * 300 / 80 / 60, 0.0]
    assert shown == [None if left is None else round(left, 1) for left in first + second]


def test_the_time_of_batches_with_one_interval_is_predicted_by_the_batches_before(
    monkeypatch, capsys
):
    clock = 0.0
    monkeypatch.setattr("experiments.sweep.train.time.perf_counter", lambda: clock)
    progress = SweepProgress([(1, LoopConfig(steps=50, start_steps=15)) for _ in range(3)])
    for _ in range(2):
        progress.begin()
        progress.show({"kind": "start", "env_step": 0})
        for step in (0, 50):
            progress.show({"kind": "evaluation", "env_step": step, "return_mean": 1.0})
            clock += 60.0
    shown = [minutes_left(line) for line in capsys.readouterr().err.splitlines()]
    assert shown == [None, None, 2.0, 1.0]


def test_a_continued_sweep_predicts_its_time_from_the_first_line_on(monkeypatch, capsys):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("experiments.sweep.train.time.perf_counter", lambda: next(clock))
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
    progress.begin()  # It is finished already.
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
