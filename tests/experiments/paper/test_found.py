"""What there is of the paper's runs, and what is left to compute."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from dsrl_jax.config.presets import InitialPolicy
from dsrl_jax.config.to_json import describe
from experiments import run as command
from experiments.paper.board import Seen, format_time, time_left
from experiments.paper.figures import FIGURES
from experiments.paper.found import best_of, find_runs, is_of, measure_rates, reached_step
from experiments.paper.listing import count, list_figures
from experiments.paper.tasks import Machine, locate, make_tasks
from experiments.paper.wanted import Choice, choose_runs
from experiments.run_dir.directory import DirectoryError, check_directory
from tests.experiments.paper.paper_runs import make_experiment, make_run, write_timings

ROOT = Path(__file__).parents[3]
CHOICE = Choice(
    algos=("ds_td3",), tasks=("halfcheetah",), seeds=(0, 1), settings={"steps": 300_000}
)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "results").mkdir()
    return tmp_path


def see(place, figure="fig1", choice=CHOICE, **machine):
    """What there is of a figure, and what is left of it."""
    found = find_runs(place / "runs", place / "results")
    located = locate(choose_runs([figure], choice), found)
    return located, make_tasks(located, found, Machine(place / "runs", **machine))


def test_what_is_missing_goes_where_the_command_alone_would_put_it(place):
    located, tasks = see(place, flags=("--threads=1",))
    assert count(located) == (2, 0, 0, 0, 0)
    assert [task.name for task in tasks] == [f"halfcheetah-v5-ds_td3-s{seed}" for seed in (0, 1)]
    assert tasks[1].arguments == (
        "--env=HalfCheetah-v5",
        "--algo=ds_td3",
        "--seeds=1",
        "--steps=300000",
        "--threads=1",
        f"--run_dir={place / 'runs' / 'halfcheetah-v5-ds_td3-s1'}",
    )


@pytest.mark.parametrize("figure", FIGURES)
def test_the_command_line_of_a_run_means_that_run(place, figure, monkeypatch):
    """All of a figure's variants, as experiments.run reads them; no policy, which is not there."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    choice = Choice(tasks=("halfcheetah",), seeds=(3,), settings={"eval_period": 1_000})
    located, tasks = see(place, figure, choice)
    experiments = {repr(run.policy): run.policy for run in (each.wanted for each in located)}
    expected = [each.wanted.experiment for each in located] + list(experiments.cli.values())
    for task in tasks:
        values = command.make_flags()
        words = [word for word in task.arguments if not word.startswith("--initial_policy")]
        command.parse(values, words)
        plan = command.prepare(values)
        plain = [dataclasses.replace(each, initial_policy=None) for each in expected if each]
        assert plan.experiment in plain
        assert plan.directory == task.directory


def test_what_is_done_is_skipped_and_what_was_begun_continues(place):
    make_run(place / "runs" / "mine", make_experiment(seeds=(0,)))
    make_run(place / "runs" / "yours", make_experiment(seeds=(1,)), reached=120_000)
    located, (task,) = see(place)
    assert count(located) == (2, 1, 1, 120_000, 300_000)
    assert (task.name, task.reached, task.steps) == ("yours", 120_000, 300_000)
    assert f"--run_dir={place / 'runs' / 'yours'}" in task.arguments


def test_collected_runs_count_as_done_and_are_not_continued(place):
    make_run(place / "results" / "a" / "b", make_experiment(seeds=(0,)), saved=False)
    located, tasks = see(place)
    assert count(located).done == 1 and len(tasks) == 1
    # Of one that is too short nothing can be used.
    longer = CHOICE._replace(settings={"steps": 400_000})
    located, tasks = see(place, choice=longer)
    assert count(located) == (2, 0, 0, 0, 0)
    assert [task.reached for task in tasks] == [0, 0]


def test_a_run_of_another_format_counts_where_it_is_done_and_is_not_continued(place):
    make_run(place / "runs" / "a", make_experiment(), format=0)
    make_run(place / "runs" / "b", make_experiment(seeds=(1,)), reached=5_000, format=0)
    located, (task,) = see(place)
    assert count(located) == (2, 1, 0, 0, 0) and task.reached == 0


def test_a_longer_run_counts_and_is_not_made_shorter(place):
    make_run(place / "runs" / "mine", make_experiment(steps=1_000_000), reached=305_000)
    make_run(place / "runs" / "yours", make_experiment(steps=1_000_000, seeds=(1,)), reached=5_000)
    located, (task,) = see(place)
    assert count(located).done == 1
    assert (task.name, task.steps) == ("yours", 1_000_000)


@pytest.mark.parametrize(
    "settings", [{"adaptation_period": 500}, {"eval_period": 1000}, {"learning_rate": 0.1}]
)
def test_a_run_of_other_settings_is_another_run(place, settings):
    make_run(place / "runs" / "other", make_experiment(**settings))
    located, _ = see(place)
    assert not any(run.found for run in located)


def test_a_config_of_before_a_setting_existed_has_its_default(place):
    directory = make_run(place / "results" / "a" / "b", make_experiment(), saved=False)
    held = json.loads((directory / "config.json").read_text())
    for name in ("format", "actor_topology", "checkpoint_period", "initial_policy"):
        del held[name]
    (directory / "config.json").write_text(json.dumps(held))
    located, _ = see(place)
    assert located[0].is_done


def test_the_results_of_this_project_are_found():
    found = find_runs(Path("nowhere"), ROOT / "results")
    choice = Choice(settings={"steps": 300_000}, tasks=("halfcheetah",))
    located = locate(choose_runs(["fig1"], choice), found)
    done = [run.wanted.experiment for run in located if run.is_done]
    assert {(run.algo, run.seeds) for run in done} >= {
        *(("ds_td3", (seed,)) for seed in range(5)),
        *((algo, (seed,)) for algo in ("td3", "static_td3") for seed in (0, 1)),
    }


def test_what_is_no_run_is_left_out(place):
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"env": 1}'), ("d", '{"seeds": [0]}')):
        (place / "runs" / name).mkdir()
        (place / "runs" / name / "config.json").write_text(text)
    assert find_runs(place / "runs", place / "nowhere") == []


def test_a_run_is_as_far_as_its_last_whole_checkpoint(place):
    directory = make_run(place / "runs" / "a", make_experiment(), reached=20_000)
    (directory / "checkpoints" / "25000").mkdir()  # being written
    assert reached_step(directory, (0,), 300_000) == 20_000
    shutil.rmtree(directory / "checkpoints")
    assert reached_step(directory, (0,), 300_000) == 0  # it would start anew
    assert reached_step(directory, (0,), 20_000) == 20_000  # whole: its evaluations are enough


def test_a_last_row_that_was_cut_off_is_not_reached(place):
    directory = make_run(place / "runs" / "a", make_experiment(), saved=False)
    path = directory / "evaluations.csv"
    path.write_text(path.read_text().rstrip("\n")[:-3])
    assert reached_step(directory, (0,), 300_000) == 0


@pytest.mark.parametrize("damage", ["0,305000", "x" + ",1" * 24])
def test_damaged_evaluations_are_told_and_not_computed_again(place, damage):
    run = make_run(place / "results" / "a" / "b", make_experiment(), saved=False)
    with (run / "evaluations.csv").open("a") as file:
        file.write(damage + "\n")
    with pytest.raises(ValueError, match=r"a/b/evaluations.csv is damaged"):
        find_runs(place / "nowhere", place / "results")


def test_a_batch_of_a_sweep_is_no_run_of_a_figure(place):
    varied = {"varied": {"drop_fraction": [0.3]}, "freezes": True}
    make_run(place / "runs" / "batch_1", make_experiment(), **varied)
    (found,) = find_runs(place / "runs", place / "nowhere")
    assert not is_of(found, make_experiment())


def test_a_whole_run_without_checkpoints_is_not_made_longer(place):
    make_run(place / "runs" / "a", make_experiment(steps=20_000), saved=False)
    (found,) = find_runs(place / "runs", place / "nowhere")
    assert best_of([found], make_experiment(), 20_000) is found
    assert best_of([found], make_experiment(), 40_000) is None


def test_a_run_from_another_policy_counts_when_it_is_done_and_is_not_continued(place):
    """Its first samples are of a policy that is not at hand."""
    (wanted,) = choose_runs(["fig3a"], CHOICE._replace(algos=("td3",), seeds=(0,)))
    held = describe(wanted.experiment)["initial_policy"]
    make_run(
        place / "runs" / "mine", wanted.experiment, 5_000, initial_policy=held | {"sha256": "b"}
    )
    (found,) = find_runs(place / "runs", place / "nowhere")
    assert is_of(found, wanted.experiment)
    assert best_of([found], wanted.experiment, wanted.experiment.loop.steps) is None
    assert best_of([found], wanted.experiment, 5_000) is found


def test_a_run_from_a_policy_that_this_command_began_is_continued(place):
    (wanted,) = choose_runs(["fig3a"], CHOICE._replace(algos=("td3",), seeds=(0,)))
    make_run(place / "runs" / "halfcheetah-v5-td3-s0-from-150000", wanted.experiment, 5_000)
    (found,) = find_runs(place / "runs", place / "nowhere")
    assert best_of([found], wanted.experiment, wanted.experiment.loop.steps) is found


def test_new_seeds_are_members_of_one_program_where_that_is_asked_for(place):
    make_run(place / "runs" / "begun", make_experiment(seeds=(1, 4)), reached=5_000)
    choice = CHOICE._replace(seeds=(0, 1, 2, 3, 4))
    _, tasks = see(place, choice=choice, together=True)
    assert {task.label for task in tasks} == {"DS-TD3"}
    seeds = {
        task.name: word for task in tasks for word in task.arguments if word.startswith("--seeds")
    }
    assert seeds == {"halfcheetah-v5-ds_td3-s0_2_3": "--seeds=0,2,3", "begun": "--seeds=1,4"}


def test_a_policy_is_trained_before_those_that_start_from_it(place):
    _, tasks = see(place, "fig3a")
    assert [task.name for task in tasks] == [
        "halfcheetah-v5-ds_td3-s5-policy-150000",
        "halfcheetah-v5-ds_td3-s0-from-150000",
        "halfcheetah-v5-ds_td3-s1-from-150000",
    ]
    policy, *agents = tasks
    assert "--steps=150000" in policy.arguments and policy.needs is None
    assert {task.needs for task in agents} == {policy.directory}
    assert all(f"--initial_policy={policy.directory}" in task.arguments for task in agents)
    make_run(policy.directory, make_experiment(seeds=(5,), steps=150_000))
    _, tasks = see(place, "fig3a")
    assert tasks == agents


def test_a_policy_whose_checkpoints_are_gone_is_not_done(place):
    """It is to be trained anew; experiments.run says that its directory has to be removed."""
    _, (policy, *_) = see(place, "fig3a")
    experiment = make_experiment(seeds=(5,), steps=150_000)
    make_run(policy.directory, experiment, saved=False)
    assert see(place, "fig3a")[1][0] == policy
    with pytest.raises(DirectoryError, match="remove it to train again"):
        check_directory(policy.directory, experiment)


def test_a_policys_run_is_never_made_longer(place):
    _, (policy, *_) = see(place, "fig3a")
    make_run(policy.directory, make_experiment(seeds=(5,), steps=150_000))
    _, (task,) = see(place, choice=CHOICE._replace(seeds=(5,)))
    assert task.name == "halfcheetah-v5-ds_td3-s5"


def test_a_run_from_a_policy_is_found_whatever_the_policys_bits(place):
    policy = InitialPolicy("ds_td3", "paper", 5, 150_000, sha256="another machine's")
    experiment = dataclasses.replace(make_experiment(), initial_policy=policy)
    make_run(place / "results" / "a" / "b", experiment, saved=False)
    located, tasks = see(place, "fig3a", CHOICE._replace(seeds=(0,)))
    assert located[0].is_done and tasks == []
    assert not see(place, "fig3b", CHOICE._replace(seeds=(0,)))[0][0].found
    assert not see(place, "fig1", CHOICE._replace(seeds=(0,)))[0][0].found


def test_a_rate_is_of_steps_with_updates_by_one_process(place):
    directory = make_run(place / "runs" / "a", make_experiment(), reached=50_000)
    # Before updates; 50 a second; another begins at 40,000, and its first row compiles.
    rows = [(20_000, 2.0), (25_000, 3.0), (30_000, 103.0), (35_000, 203.0), (40_000, 303.0)]
    write_timings(directory, [*rows, (45_000, 404.0), (50_000, 504.0)], starts=(0, 40_000))
    assert measure_rates(find_runs(place / "runs", place)) == {
        ("HalfCheetah-v5", "ds_td3"): pytest.approx(50)
    }
    write_timings(directory, rows[:2])
    assert measure_rates(find_runs(place / "runs", place)) == {}


@pytest.mark.parametrize("settings", [{"hidden_sizes": (16, 16)}, {"batch_size": 16}])
def test_runs_of_other_sizes_are_no_measure(place, settings):
    directory = make_run(place / "runs" / "a", make_experiment(**settings), reached=50_000)
    write_timings(directory, [(25_000, 3.0), (30_000, 103.0)])
    assert measure_rates(find_runs(place / "runs", place)) == {}


def test_the_time_left_is_of_what_has_a_rate(place):
    _, tasks = see(place, "fig1", CHOICE._replace(algos=("td3", "ds_td3")))
    seen = {task.directory: Seen(0, None) for task in tasks}
    assert time_left(tasks, seen, {}, 2) == "no rate yet for 4 runs"
    rates = {("HalfCheetah-v5", "td3"): 100.0}
    # 2 runs of 300,000 steps, 3,000 s each, two at once
    assert time_left(tasks, seen, rates, 2) == "50 min for 2 runs, no rate yet for 2 runs"
    # A run's own rate is also that of others of its kind.
    seen[tasks[1].directory] = Seen(100_000, 50.0)
    assert time_left(tasks, seen, rates, 1) == format_time(6_000 + 4_000 + 6_000) == "4.4 h"
    done = {task.directory: Seen(task.steps, None) for task in tasks}
    assert time_left(tasks, done, rates, 2) == "none"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 min"), (119, "2 min"), (7_199, "120 min"), (7_200, "2.0 h"), (200_000, "2.3 days")],
)
def test_times_are_told_in_a_fitting_unit(seconds, text):
    assert format_time(seconds) == text


def test_the_list_names_runs_done_begun_and_the_time(place):
    make_run(place / "runs" / "a", make_experiment(seeds=(0,)))
    begun = make_run(place / "runs" / "b", make_experiment(seeds=(1,)), reached=60_000)
    write_timings(begun, [(25_000, 0.0), (30_000, 100.0)])
    found = find_runs(place / "runs", place / "results")
    choice = CHOICE._replace(algos=("ds_td3", "td3"))
    located = locate(choose_runs(["fig1"], choice), found)
    arguments = (located, found, Machine(place / "runs"), measure_rates(found), 2)
    text = list_figures(["fig1", "costs"], *arguments)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "DS-TD3 2 1 1 (60,000 of 300,000 steps) halfcheetah; seeds 0,1" in lines
    assert "TD3 2 0 - halfcheetah; seeds 0,1" in lines
    assert "all 4 1 1 (60,000 of 300,000 steps)" in lines
    # 240,000 steps at 50 a second: one run cannot be shared
    expected = "time for the rest 80 min for 1 run, no rate yet for 2 runs; 3 to compute, 2 at once"
    assert expected in lines
    assert any("runs nothing" in line for line in lines)
