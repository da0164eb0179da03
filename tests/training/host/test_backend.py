"""The host's back-end in the loop, with a program in NumPy: what it plays, stores and restores.

`test_train.py` tests runs with real agents, `test_loop.py` the loop with a back-end made by hand.
"""

import itertools
import shutil

import gymnasium
import numpy as np
import pytest

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.presets import resolve
from dsrl_jax.envs import catalog
from dsrl_jax.training.host import backend as host_backend
from dsrl_jax.training.host.random import episode_seed
from dsrl_jax.training.loop import never, train
from dsrl_jax.training.nonfinite import NotFiniteError
from tests import toy_environments
from tests.toy_environments import TIME_LIMIT, Faulty
from tests.training.numpy_program import Recorder, numpy_program
from tests.training.runs import TOYS, comparable, read_replay, replay_bytes

SEEDS = (0, 3, 4)
STEPS = 75
SETTINGS = {
    "batch_size": 8,
    "start_steps": 30,
    "steps": STEPS,
    "eval_period": 25,
    "checkpoint_period": 25,
    "log_period": 25,
    "eval_episodes": 2,
}


@pytest.fixture
def recorder():
    """Records the calls of every program of the test."""
    return Recorder()


def start(
    directory=None, *, env="PointMass-v0", seeds=SEEDS, stop=never, recorder=None, **settings
):
    experiment = resolve(TOYS + env, "td3", seeds=seeds, settings=SETTINGS | settings)
    spaces = Spaces(*catalog.look_up_sizes(experiment.env))
    program = numpy_program(spaces, seeds, recorder)
    backend = host_backend.make_backend(experiment, spaces, program, directory)
    return train(experiment, backend, stop)


def run(directory=None, **arguments):
    return list(start(directory, **arguments))


def read(directory, seeds=SEEDS):
    return read_replay(directory, len(seeds), STEPS)


# --- Its rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("start_steps", [0, 1, 30, 74, 75, 1000])
def test_there_is_one_update_a_step_after_the_random_ones(recorder, start_steps):
    rows = run(start_steps=start_steps, recorder=recorder)
    updates = max(STEPS - start_steps, 0)
    assert recorder.updates == list(range(1, updates + 1))
    assert recorder.env_steps == [start_steps + update + 1 for update in recorder.updates]
    for row in rows:
        if "updates" in row:
            assert row["updates"] == max(row["env_step"] - start_steps, 0)


def _is_training(row, seed):
    return row["kind"] == "training" and row["seed"] == seed


def test_training_rows_have_the_last_finished_episode(tmp_path):
    rows = run(tmp_path, log_period=1)
    _, _, rewards, _, ended, _ = read(tmp_path)
    for member, seed in enumerate(SEEDS):
        episodes, total, last = 0, 0.0, np.nan
        for row in (row for row in rows if _is_training(row, seed)):
            step = row["env_step"] - 1
            total += rewards[step, member]
            if ended[step, member]:
                episodes, total, last = episodes + 1, 0.0, total
            assert row["episodes"] == episodes
            np.testing.assert_allclose(row["episode_return"], last, rtol=1e-5)


def test_the_same_run_gives_the_same_rows():
    assert comparable(run()) == comparable(run())


def test_evaluations_do_not_change_the_training(tmp_path):
    run(tmp_path / "few", eval_period=75, eval_episodes=1)
    run(tmp_path / "many", eval_period=10, eval_episodes=3)
    assert replay_bytes(tmp_path / "few") == replay_bytes(tmp_path / "many")


# --- What it plays and stores ------------------------------------------------------------------


def test_stored_transitions_are_what_the_environments_did(tmp_path):
    run(tmp_path)
    observations, actions, rewards, terminated, ended, finals = read(tmp_path)
    finals, ends = list(finals), {"time limit": 0, "termination": 0}
    games = [gymnasium.make(TOYS + "PointMass-v0") for _ in SEEDS]
    episodes = [0] * len(SEEDS)
    here = [_reset(game, seed, 0) for game, seed in zip(games, SEEDS, strict=True)]
    for step, member in itertools.product(range(STEPS), range(len(SEEDS))):
        at = step, member
        np.testing.assert_array_equal(observations[at], here[member])
        following, reward, is_terminal, is_truncated, _ = games[member].step(actions[at])
        assert rewards[at] == np.float32(reward)
        assert terminated[at] == is_terminal
        assert ended[at] == (is_terminal or is_truncated)
        here[member] = np.float32(following)
        if ended[at]:
            ends["termination" if is_terminal else "time limit"] += 1
            np.testing.assert_array_equal(finals.pop(0), here[member])
            episodes[member] += 1
            here[member] = _reset(games[member], SEEDS[member], episodes[member])
    assert not finals and min(ends.values()) >= 3


def _reset(game, seed, episode):
    return np.float32(game.reset(seed=episode_seed(seed, episode))[0])


def test_batches_have_the_true_next_observation_at_a_time_limit(recorder, tmp_path):
    run(tmp_path, recorder=recorder)
    observations, _, _, terminated, ended, finals = read(tmp_path)
    seen = 0
    for member in range(len(SEEDS)):
        order = np.cumsum(ended.ravel().astype(int)).reshape(ended.shape) - 1
        for step in np.flatnonzero((ended[:, member] == 1) & (terminated[:, member] == 0)):
            rows = np.concatenate([batch[member] for batch in recorder.batches])
            rows = rows[(rows[:, :2] == observations[step, member]).all(axis=1)]
            seen += len(rows)
            np.testing.assert_array_equal(rows[:, 4], 0)
            expected = np.broadcast_to(finals[order[step, member]], (len(rows), 2))
            np.testing.assert_array_equal(rows[:, -2:], expected)
    assert seen > 20


def test_random_actions_are_uniform_within_the_bounds_of_each_dimension(tmp_path):
    run(tmp_path, env="Asymmetric-v0", start_steps=STEPS)
    _, actions, *_ = read(tmp_path)
    low, high = np.array([-1.0, 0.25]), np.array([0.5, 2.0])
    assert (actions >= low).all() and (actions <= high).all()
    shares = ((actions - low) / (high - low)).reshape(-1, 2)
    assert np.unique(shares).size == shares.size  # each member, step and dimension its own draw
    # Kolmogorov-Smirnov: the largest distance to the uniform distribution, at 99.9 %.
    expected = (np.arange(len(shares)) + 0.5)[:, None] / len(shares)
    assert np.abs(np.sort(shares, axis=0) - expected).max() < 1.95 / np.sqrt(len(shares))
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.25


@pytest.mark.parametrize("start_steps", [0, 1, 30])
def test_after_the_random_steps_the_policy_acts(recorder, tmp_path, start_steps):
    run(tmp_path, start_steps=start_steps, recorder=recorder)
    _, actions, *_ = read(tmp_path)
    np.testing.assert_array_equal(recorder.actions[:-1], actions[start_steps:])


def test_random_actions_do_not_depend_on_when_they_end(tmp_path):
    run(tmp_path / "few", start_steps=10)
    run(tmp_path / "many", start_steps=40)
    (_, few, *_), (_, many, *_) = read(tmp_path / "few"), read(tmp_path / "many")
    np.testing.assert_array_equal(few[:10], many[:10])
    assert not np.array_equal(few[10:40], many[10:40])


def test_a_member_does_the_same_alone_and_among_others(tmp_path):
    together = run(tmp_path / "together")
    columns = read(tmp_path / "together")[:-1]
    for member, seed in enumerate(SEEDS):
        directory = tmp_path / str(seed)
        alone = run(directory, seeds=(seed,))
        assert comparable(alone) == comparable(row for row in together if row.get("seed") == seed)
        for ours, theirs in zip(read(directory, seeds=(seed,))[:-1], columns, strict=True):
            np.testing.assert_array_equal(ours[:, 0], theirs[:, member])


# --- What it saves, and how it continues --------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Rows, directory and batches of a run that nothing stopped."""
    directory, recorder = tmp_path_factory.mktemp("whole"), Recorder()
    return run(directory, recorder=recorder), directory, recorder.batches


def stop_after(rows, kind, env_step):
    """Reads a run's rows up to the last of a kind at a step, then leaves it."""
    for row in rows:
        if _is_last_of(row, kind, env_step):
            break
    rows.close()


def _is_last_of(row, kind, env_step):
    seed = row.get("seed", SEEDS[-1])
    return (row["kind"], row["env_step"], seed) == (kind, env_step, SEEDS[-1])


# A moment of a run, and the step of the last checkpoint then.
STOPS = {
    "among the random steps": ("timing", 25, 25),
    "before the first checkpoint": ("training", 25, 0),
    "before a checkpoint": ("evaluation", 50, 25),
    "after a checkpoint": ("timing", 50, 50),
    "between two checkpoints": ("training", 75, 50),
}


def test_a_killed_run_continues_from_what_is_on_the_disk(whole, tmp_path):
    rows, directory, batches = whole
    for row in start(tmp_path / "killed"):
        for name, (kind, env_step, _) in STOPS.items():
            if _is_last_of(row, kind, env_step):
                shutil.copytree(tmp_path / "killed", tmp_path / name)
    for name, (_, _, saved) in STOPS.items():
        recorder = Recorder()
        rest = run(tmp_path / name, recorder=recorder)
        assert rest[0] == {"kind": "start", "env_step": saved}, name
        assert comparable(rest) == comparable(rows, after=saved if saved else -1), name
        assert replay_bytes(tmp_path / name) == replay_bytes(directory), name
        updates = STEPS - max(saved, SETTINGS["start_steps"])
        np.testing.assert_array_equal(recorder.batches, batches[len(batches) - updates :])


def test_a_run_may_be_left_again_and_again(whole, tmp_path):
    rows, directory, _ = whole
    for kind, env_step in (("training", 25), ("timing", 25), ("training", 75)):
        stop_after(start(tmp_path), kind, env_step)
    assert comparable(run(tmp_path)) == comparable(rows, after=50)
    assert replay_bytes(tmp_path) == replay_bytes(directory)


@pytest.mark.parametrize(("every", "checkpoint_period"), [(8, 1000), (13, 10)])
def test_a_run_that_is_asked_to_stop_saves_and_continues(whole, tmp_path, every, checkpoint_period):
    """At any step, also at one without rows."""
    rows, directory, _ = whole
    asked, parts, stops = itertools.cycle([False] * (every - 1) + [True]), [], []
    while not stops or stops[-1]["kind"] == "stopped":
        part = run(tmp_path, checkpoint_period=checkpoint_period, stop=lambda: next(asked))
        parts += part
        stops.append(part[-1])
    assert comparable(parts) == comparable(rows)
    assert replay_bytes(tmp_path) == replay_bytes(directory)
    steps = [row["env_step"] for row in stops]
    assert steps == sorted(set(steps)) and len(steps) >= STEPS // every - 1


def test_an_environment_that_does_not_repeat_is_noted(tmp_path, monkeypatch):
    stop_after(start(tmp_path), "training", 75)
    drift = iter(range(1000))
    step = toy_environments.PointMass.step

    def drifting_step(self, action):
        self.position += 1e-3 * next(drift)
        return step(self, action)

    monkeypatch.setattr(toy_environments.PointMass, "step", drifting_step)
    rows = run(tmp_path)
    assert rows[0]["env_step"] == 50
    assert rows[1]["kind"] == "note" and "does not repeat" in rows[1]["text"]


def test_a_run_continues_if_its_replay_is_shorter_than_an_episode(tmp_path):
    settings = {"replay_size": 3, "checkpoint_period": 10, "steps": 45}
    assert TIME_LIMIT > 3 + 1
    whole = run(tmp_path / "whole", **settings)
    stop_after(start(tmp_path / "stopped", **settings), "checkpoint", 40)
    rest = run(tmp_path / "stopped", **settings)
    assert rest[0]["env_step"] == 30
    assert comparable(rest) == comparable(whole, after=30)
    assert replay_bytes(tmp_path / "stopped") == replay_bytes(tmp_path / "whole")


def test_a_finished_run_has_nothing_to_do(whole):
    _, directory, _ = whole
    before = replay_bytes(directory)
    assert run(directory) == [{"kind": "start", "env_step": STEPS}]
    assert replay_bytes(directory) == before


def test_a_longer_run_continues_where_a_shorter_one_ended(whole, tmp_path):
    rows, directory, _ = whole
    for steps in (50, 60, STEPS):
        rest = run(tmp_path, steps=steps)
    assert rest[0]["env_step"] == 60
    assert comparable(rest, "evaluation") == comparable(rows, "evaluation", after=60)
    assert replay_bytes(tmp_path) == replay_bytes(directory)


def test_the_first_training_row_of_a_longer_run_is_a_mean_over_its_own_updates(tmp_path):
    losses = {}
    for row in run(log_period=1, seeds=(0,)):
        if row["kind"] == "training":
            losses[row["env_step"]] = row["loss"]
    run(tmp_path, seeds=(0,), steps=60)
    (row,) = (row for row in run(tmp_path, seeds=(0,)) if row["kind"] == "training")
    expected = np.mean([losses[step] for step in range(61, 76)])
    np.testing.assert_allclose(row["loss"], expected, rtol=1e-5)


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(seeds=(0,))
    assert not list(tmp_path.iterdir())


# --- What ends it -------------------------------------------------------------------------------


def seeds_by_fault():
    """Returns two seeds: the environment of the second one breaks."""
    by_parity = {episode_seed(seed, 0) % 2: seed for seed in range(20)}
    return by_parity[0], by_parity[1]


@pytest.mark.parametrize("start_steps", [5, 75])
@pytest.mark.parametrize(
    ("env", "what"), [("NanObservation-v0", "observation"), ("InfiniteReward-v0", "reward")]
)
def test_numbers_that_are_not_finite_end_the_run_and_name_seed_and_step(env, what, start_steps):
    rows, seeds = [], seeds_by_fault()
    message = f"^seed {seeds[1]}, step {Faulty.fault_step}: {what} is not finite$"
    settings = {"seeds": seeds, "start_steps": start_steps, "log_period": 5}
    with pytest.raises(NotFiniteError, match=message):
        for row in start(env=env, **settings):
            rows.append(row)
    whole = run(env="PointMass-v0", **settings)
    assert comparable(rows) == comparable(
        row for row in whole if row["env_step"] < Faulty.fault_step
    )


@pytest.fixture
def opened(monkeypatch):
    """Collects the files that runs open for their replays."""
    opened = []

    class Recorded(host_backend.ReplayFile):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            opened.extend(self.files)

    monkeypatch.setattr(host_backend, "ReplayFile", Recorded)
    return opened


def test_a_run_that_ends_closes_its_files(opened, tmp_path):
    run(tmp_path, seeds=(0,), steps=5)
    assert len(opened) == 2 and all(file.closed for file in opened)


def test_a_run_that_is_left_closes_its_files(opened, tmp_path):
    rows = start(tmp_path, seeds=(0,), steps=5)
    next(rows)
    rows.close()
    assert len(opened) == 2 and all(file.closed for file in opened)
