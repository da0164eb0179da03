"""What runs are called by: settings that differ, and nothing that does not."""

import pytest

from dsrl_jax.config.presets import resolve
from dsrl_jax.config.tasks import task_of
from experiments.run_dir.naming import as_name, differences, short_hash


def experiment(backend="gymnasium", **settings):
    env = "ant" if backend == "brax" else "Ant-v5"
    return resolve(env, "ds_td3", backend=backend, settings=settings)


def test_what_differs_is_named_with_its_value():
    changed = experiment(adaptation_period=200, hidden_sizes=(64, 64), steps=300)
    plain = experiment()
    assert differences(plain, plain, besides=()) == {}
    found = differences(changed, plain, besides=("steps",))
    assert found == {"adaptation_period": 200, "hidden_sizes": [64, 64]}


def test_a_setting_that_the_other_has_not_is_one_that_differs():
    found = differences(experiment("brax"), experiment(), besides=())
    assert found["backend"] == "brax" and found["num_envs"] == 1
    # One that only the other has is not this one's.
    assert "num_envs" not in differences(experiment(), experiment("brax"), besides=())


def test_a_hash_goes_by_values_and_not_by_their_order():
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
