"""Which runs exist, and which tasks are missing."""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from dsrl_jax.config.presets import InitialPolicy
from dsrl_jax.config.to_json import describe
from experiments import run as command
from experiments.paper.existing_runs import best_run, existing_runs, matches, reached_step
from experiments.paper.figures import FIGURES
from experiments.paper.required_runs import Selection, required_runs
from experiments.paper.tasks import Machine, match_runs, missing_tasks
from experiments.run_dir.directory import DirectoryError, check_directory
from tests.experiments.paper.paper_runs import make_experiment, make_run

ROOT = Path(__file__).parents[3]
SELECTION = Selection(
    algos=("ds_td3",), tasks=("halfcheetah",), seeds=(0, 1), settings={"steps": 300_000}
)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "results").mkdir()
    return tmp_path


def count(matched):
    """Runs, done ones, begun ones, and the steps that these have reached."""
    begun = [run.existing.reached for run in matched if run.existing and not run.is_done]
    return len(matched), sum(run.is_done for run in matched), len(begun), sum(begun)


def see(place, figure="fig1", selection=SELECTION, **machine):
    """Returns the matches of a figure, and its missing tasks."""
    existing = existing_runs(place / "runs", place / "results")
    matched = match_runs(required_runs([figure], selection), existing)
    return matched, missing_tasks(matched, existing, Machine(place / "runs", **machine))


def test_a_new_run_gets_the_directory_that_experiments_run_would_choose(place):
    matched, tasks = see(place, flags=("--threads=1",))
    assert count(matched) == (2, 0, 0, 0)
    assert [task.directory.name for task in tasks] == [
        f"halfcheetah-v5-ds_td3-s{seed}" for seed in (0, 1)
    ]
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
    selection = Selection(tasks=("halfcheetah",), seeds=(3,), settings={"eval_period": 1_000})
    matched, tasks = see(place, figure, selection)
    policies = {repr(run.policy): run.policy for run in (each.required for each in matched)}
    expected = [each.required.experiment for each in matched] + list(policies.values())
    for task in tasks:
        values = command.make_flags()
        words = [word for word in task.arguments if not word.startswith("--initial_policy")]
        command.parse(values, words)
        with contextlib.ExitStack() as locks:
            plan = command.prepare(values, locks)
        plain = [dataclasses.replace(each, initial_policy=None) for each in expected if each]
        assert plan.experiment in plain
        assert plan.directory == task.directory


def test_finished_runs_are_skipped_and_begun_ones_continue(place):
    make_run(place / "runs" / "mine", make_experiment(seeds=(0,)))
    make_run(place / "runs" / "yours", make_experiment(seeds=(1,)), reached=120_000)
    matched, (task,) = see(place)
    assert count(matched) == (2, 1, 1, 120_000)
    assert (task.directory.name, task.reached, task.steps) == ("yours", 120_000, 300_000)
    assert f"--run_dir={place / 'runs' / 'yours'}" in task.arguments


def test_collected_runs_count_as_done_and_do_not_continue(place):
    make_run(place / "results" / "a" / "b", make_experiment(seeds=(0,)), saved=False)
    matched, tasks = see(place)
    assert count(matched)[1] == 1 and len(tasks) == 1
    # A collected run that is too short cannot be used.
    longer = SELECTION._replace(settings={"steps": 400_000})
    matched, tasks = see(place, selection=longer)
    assert count(matched) == (2, 0, 0, 0)
    assert [task.reached for task in tasks] == [0, 0]


def test_a_run_of_another_format_counts_if_done_and_does_not_continue(place):
    make_run(place / "runs" / "a", make_experiment(), format=0)
    make_run(place / "runs" / "b", make_experiment(seeds=(1,)), reached=5_000, format=0)
    matched, (task,) = see(place)
    assert count(matched) == (2, 1, 0, 0) and task.reached == 0


def test_a_longer_run_counts_and_is_not_made_shorter(place):
    make_run(place / "runs" / "mine", make_experiment(steps=1_000_000), reached=305_000)
    make_run(place / "runs" / "yours", make_experiment(steps=1_000_000, seeds=(1,)), reached=5_000)
    matched, (task,) = see(place)
    assert count(matched)[1] == 1
    assert (task.directory.name, task.steps) == ("yours", 1_000_000)


@pytest.mark.parametrize(
    "settings", [{"adaptation_period": 500}, {"eval_period": 1000}, {"learning_rate": 0.1}]
)
def test_a_run_of_other_settings_is_another_run(place, settings):
    make_run(place / "runs" / "other", make_experiment(**settings))
    matched, _ = see(place)
    assert not any(run.existing for run in matched)


def test_an_older_config_has_the_defaults_of_newer_settings(place):
    directory = make_run(place / "results" / "a" / "b", make_experiment(), saved=False)
    config = json.loads((directory / "config.json").read_text())
    for name in ("format", "actor_topology", "checkpoint_period", "initial_policy"):
        del config[name]
    (directory / "config.json").write_text(json.dumps(config))
    matched, _ = see(place)
    assert matched[0].is_done


def test_the_results_of_this_project_are_found():
    existing = existing_runs(Path("nowhere"), ROOT / "results")
    selection = Selection(settings={"steps": 300_000}, tasks=("halfcheetah",))
    matched = match_runs(required_runs(["fig1"], selection), existing)
    done = [run.required.experiment for run in matched if run.is_done]
    assert {(run.algo, run.seeds) for run in done} >= {
        *(("ds_td3", (seed,)) for seed in range(5)),
        *((algo, (seed,)) for algo in ("td3", "static_td3") for seed in (0, 1)),
    }


def test_other_files_are_skipped(place):
    for name, text in (("a", "{"), ("b", "[]"), ("c", '{"env": 1}'), ("d", '{"seeds": [0]}')):
        (place / "runs" / name).mkdir()
        (place / "runs" / name / "config.json").write_text(text)
    assert existing_runs(place / "runs", place / "nowhere") == []


def test_a_run_is_as_far_as_its_last_whole_checkpoint(place):
    directory = make_run(place / "runs" / "a", make_experiment(), reached=20_000)
    (directory / "checkpoints" / "25000").mkdir()  # being written
    assert reached_step(directory, (0,), 300_000) == 20_000
    shutil.rmtree(directory / "checkpoints")
    assert reached_step(directory, (0,), 300_000) == 0  # it would start again
    assert reached_step(directory, (0,), 20_000) == 20_000  # whole: its evaluations are enough


def test_a_last_row_that_was_cut_off_does_not_count(place):
    directory = make_run(place / "runs" / "a", make_experiment(), saved=False)
    path = directory / "evaluations.csv"
    path.write_text(path.read_text().rstrip("\n")[:-3])
    assert reached_step(directory, (0,), 300_000) == 0


@pytest.mark.parametrize("damage", ["0,305000", "x" + ",1" * 24])
def test_damaged_evaluations_raise_an_error(place, damage):
    run = make_run(place / "results" / "a" / "b", make_experiment(), saved=False)
    with (run / "evaluations.csv").open("a") as file:
        file.write(damage + "\n")
    with pytest.raises(ValueError, match=r"a/b/evaluations.csv is damaged"):
        existing_runs(place / "nowhere", place / "results")


def test_a_batch_of_a_sweep_matches_no_run_of_a_figure(place):
    varied = {"varied": {"drop_fraction": [0.3]}, "freezes": True}
    make_run(place / "runs" / "batch_1", make_experiment(), **varied)
    (existing,) = existing_runs(place / "runs", place / "nowhere")
    assert not matches(existing, make_experiment())


def test_a_whole_run_without_checkpoints_is_not_made_longer(place):
    make_run(place / "runs" / "a", make_experiment(steps=20_000), saved=False)
    (existing,) = existing_runs(place / "runs", place / "nowhere")
    assert best_run([existing], make_experiment(), 20_000) is existing
    assert best_run([existing], make_experiment(), 40_000) is None


def test_a_run_from_an_unknown_policy_counts_if_done_and_does_not_continue(place):
    """Its first samples came from a policy that this machine may not have."""
    (required,) = required_runs(["fig3a"], SELECTION._replace(algos=("td3",), seeds=(0,)))
    policy = describe(required.experiment)["initial_policy"]
    make_run(
        place / "runs" / "mine", required.experiment, 5_000, initial_policy=policy | {"sha256": "b"}
    )
    (existing,) = existing_runs(place / "runs", place / "nowhere")
    assert matches(existing, required.experiment)
    assert best_run([existing], required.experiment, required.experiment.loop.steps) is None
    assert best_run([existing], required.experiment, 5_000) is existing


def test_a_run_from_a_policy_of_this_command_continues(place):
    (required,) = required_runs(["fig3a"], SELECTION._replace(algos=("td3",), seeds=(0,)))
    make_run(place / "runs" / "halfcheetah-v5-td3-s0-from-150000", required.experiment, 5_000)
    (existing,) = existing_runs(place / "runs", place / "nowhere")
    assert best_run([existing], required.experiment, required.experiment.loop.steps) is existing


def test_together_trains_new_seeds_in_one_program(place):
    make_run(place / "runs" / "begun", make_experiment(seeds=(1, 4)), reached=5_000)
    selection = SELECTION._replace(seeds=(0, 1, 2, 3, 4))
    _, tasks = see(place, selection=selection, together=True)
    assert {task.label for task in tasks} == {"DS-TD3"}
    seeds = {
        task.directory.name: word
        for task in tasks
        for word in task.arguments
        if word.startswith("--seeds")
    }
    assert seeds == {"halfcheetah-v5-ds_td3-s0_2_3": "--seeds=0,2,3", "begun": "--seeds=1,4"}


def test_a_policy_is_trained_before_those_that_start_from_it(place):
    _, tasks = see(place, "fig3a")
    assert [task.directory.name for task in tasks] == [
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


def test_a_policy_without_checkpoints_is_not_done(place):
    """It has to be trained again; experiments.run then asks to remove its directory."""
    _, (policy, *_) = see(place, "fig3a")
    experiment = make_experiment(seeds=(5,), steps=150_000)
    make_run(policy.directory, experiment, saved=False)
    assert see(place, "fig3a")[1][0] == policy
    with pytest.raises(DirectoryError, match="remove it to train again"):
        check_directory(policy.directory, experiment)


def test_a_policys_run_is_never_made_longer(place):
    _, (policy, *_) = see(place, "fig3a")
    make_run(policy.directory, make_experiment(seeds=(5,), steps=150_000))
    _, (task,) = see(place, selection=SELECTION._replace(seeds=(5,)))
    assert task.directory.name == "halfcheetah-v5-ds_td3-s5"


def test_a_run_from_a_policy_matches_whatever_the_policys_hash(place):
    policy = InitialPolicy("ds_td3", "paper", 5, 150_000, sha256="another machine's")
    experiment = dataclasses.replace(make_experiment(), initial_policy=policy)
    make_run(place / "results" / "a" / "b", experiment, saved=False)
    matched, tasks = see(place, "fig3a", SELECTION._replace(seeds=(0,)))
    assert matched[0].is_done and tasks == []
    assert not see(place, "fig3b", SELECTION._replace(seeds=(0,)))[0][0].existing
    assert not see(place, "fig1", SELECTION._replace(seeds=(0,)))[0][0].existing
