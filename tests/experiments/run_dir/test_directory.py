"""Names of run directories, and which directories may be used."""

import json
import shutil

import pytest

from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.tasks import task_of
from dsrl_jax.config.to_json import describe
from experiments.run_dir.directory import (
    DirectoryError,
    as_name,
    check_directory,
    differences,
    short_hash,
)
from tests.experiments.paper.paper_runs import make_experiment, make_run


def experiment(backend="gymnasium", **settings):
    env = "ant" if backend == "brax" else "Ant-v5"
    return resolve(env, "ds_td3", backend=backend, settings=settings)


def test_differences_have_names_and_values():
    changed = experiment(adaptation_period=200, hidden_sizes=(64, 64), steps=300)
    plain = experiment()
    assert differences(plain, plain, besides=()) == {}
    found = differences(changed, plain, besides=("steps",))
    assert found == {"adaptation_period": 200, "hidden_sizes": [64, 64]}


def test_a_setting_that_only_one_side_has():
    found = differences(experiment("brax"), experiment(), besides=())
    assert found["backend"] == "brax" and found["num_envs"] == 1
    assert "num_envs" not in differences(experiment(), experiment("brax"), besides=())


def test_a_hash_depends_on_values_and_not_on_their_order():
    one = short_hash({"tau": 0.1, "batch_size": 2})
    assert one == short_hash({"batch_size": 2, "tau": 0.1}) and len(one) == 6
    assert one != short_hash({"batch_size": 2, "tau": 0.2})


@pytest.mark.parametrize(
    ("env", "name", "task"),
    [
        ("HalfCheetah-v5", "halfcheetah-v5", "HalfCheetah"),
        ("my_package.tasks:My/Task-v0", "my_package.tasks-my-task-v0", "My/Task"),
        ("halfcheetah", "halfcheetah", "halfcheetah"),
        ("Foo-vehicle", "foo-vehicle", "Foo-vehicle"),
    ],
)
def test_an_environment_in_the_names_of_files_and_tables(env, name, task):
    assert (as_name(env), task_of(env)) == (name, task)


def test_a_finished_run_without_its_checkpoints_is_kept(tmp_path):
    """Training it again would overwrite its tables."""
    run = make_run(tmp_path / "run", make_experiment(steps=20_000))
    longer = make_experiment(steps=40_000)
    assert check_directory(run, longer) is not None
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(DirectoryError, match="finished run without its checkpoints"):
        check_directory(run, longer)
    unfinished = make_run(tmp_path / "other", longer, reached=20_000, saved=False)
    assert check_directory(unfinished, longer) is not None


def test_a_run_that_is_older_than_a_setting_has_its_default(tmp_path):
    plain = resolve("HalfCheetah-v5", "ds_td3")
    old = {"format": FORMAT, **describe(plain)}
    del old["critic_topology"], old["actor_topology"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert check_directory(tmp_path, plain) == old
    other = resolve("HalfCheetah-v5", "ds_td3", settings={"critic_topology": "rigl"})
    with pytest.raises(DirectoryError, match="another run: critic_topology is None there and 'rig"):
        check_directory(tmp_path, other)
