"""The loop on the host, whatever the agent is: what it plays, stores, tells, saves and refuses.

The program is a stand-in in NumPy; `test_train.py` holds the whole of a run with real agents.
"""

import itertools
import shutil

import gymnasium
import numpy as np
import pytest

from dsrl_jax.config.presets import resolve
from dsrl_jax.training import train as training
from dsrl_jax.training.finite import NotFiniteError
from dsrl_jax.training.host.random import episode_seed
from tests import toy_environments
from tests.toy_environments import TIME_LIMIT, Faulty
from tests.training.numpy_program import Recorder, numpy_program
from tests.training.runs import TOYS, read_replay, replay_bytes, told

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


@pytest.fixture(autouse=True)
def recorder(monkeypatch):
    """Puts the stand-in into the place of every compiled program; tells how it was called."""
    recorder = Recorder()

    def compile_program(agent, config, spaces, seeds, *, placement=None, freeze_nonfinite=False):
        del agent, config
        return numpy_program(spaces, seeds, recorder)

    monkeypatch.setattr(training, "compile_program", compile_program)
    return recorder


def start(directory=None, *, env="PointMass-v0", seeds=SEEDS, **settings):
    experiment = resolve(TOYS + env, "td3", seeds=seeds, settings=SETTINGS | settings)
    return training.run(experiment, directory)


def run(directory=None, **arguments):
    return list(start(directory, **arguments))


def read(directory, seeds=SEEDS):
    return read_replay(directory, len(seeds), STEPS)


# --- What it tells -----------------------------------------------------------------------------


def test_rows_come_in_order_for_each_member():
    found = [(row["kind"], row["env_step"], row.get("seed")) for row in run()]
    expected = [("start", 0, None)] + [("evaluation", 0, seed) for seed in SEEDS]
    expected += [("topology", 0, seed) for seed in SEEDS for _ in range(2)]
    for step in (25, 50, 75):
        expected += [("training", step, seed) for seed in SEEDS]
        expected += [("evaluation", step, seed) for seed in SEEDS]
        expected += [("topology", step, seed) for seed in SEEDS for _ in range(2)]
        expected += [("timing", step, None)]
    assert found == expected


def test_rows_of_a_kind_have_the_same_keys():
    rows = run()
    keys = {
        kind: {tuple(r) for r in rows if r["kind"] == kind} for kind in ("evaluation", "timing")
    }
    (training_keys,) = {tuple(row) for row in rows if row["kind"] == "training"}
    assert keys["evaluation"] == {
        ("kind", "seed", "env_step", "updates", "return_mean", "return_std", "returns", "lengths")
    }
    assert keys["timing"] == {
        ("kind", "env_step", "seconds", "evaluation_seconds", "checkpoint_seconds")
    }
    assert training_keys == (
        *("kind", "seed", "env_step", "updates", "episodes", "episode_return"),
        *("loss", "actor_connections", "critics_connections"),
    )


@pytest.mark.parametrize(
    ("steps", "evaluated", "logged"),
    [
        (60, [0, 25, 50, 60], [10, 20, 30, 40, 50, 60]),
        (7, [0, 7], [7]),
        (25, [0, 25], [10, 20, 25]),
    ],
)
def test_the_last_step_is_evaluated_whatever_the_period(steps, evaluated, logged):
    rows = run(steps=steps, log_period=10, seeds=(0,))
    assert [row["env_step"] for row in rows if row["kind"] == "evaluation"] == evaluated
    assert [row["env_step"] for row in rows if row["kind"] == "training"] == logged


@pytest.mark.parametrize("start_steps", [0, 1, 30, 74, 75, 1000])
def test_there_is_one_update_a_step_after_the_random_ones(recorder, start_steps):
    rows = run(start_steps=start_steps)
    updates = max(STEPS - start_steps, 0)
    assert recorder.updates == list(range(1, updates + 1))
    assert recorder.env_steps == [start_steps + update + 1 for update in recorder.updates]
    for row in rows:
        if "updates" in row:
            assert row["updates"] == max(row["env_step"] - start_steps, 0)


def test_a_training_row_is_the_mean_over_the_updates_since_the_last():
    every_step, every_25 = run(log_period=1), run()
    for seed in SEEDS:
        losses = {r["env_step"]: r["loss"] for r in every_step if _is_training(r, seed)}
        assert all(np.isnan(losses[step]) for step in range(1, 31))
        means = {r["env_step"]: r["loss"] for r in every_25 if _is_training(r, seed)}
        assert np.isnan(means[25])
        for first, last in ((31, 50), (51, 75)):
            expected = np.mean([losses[step] for step in range(first, last + 1)])
            np.testing.assert_allclose(means[last], expected, rtol=1e-5)


def _is_training(row, seed):
    return row["kind"] == "training" and row["seed"] == seed


def test_training_rows_tell_the_last_finished_episode(tmp_path):
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
    assert told(run()) == told(run())


def test_evaluations_leave_the_training_alone(tmp_path):
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


def test_batches_hold_the_true_next_observation_at_a_time_limit(recorder, tmp_path):
    run(tmp_path)
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
    run(tmp_path, start_steps=start_steps)
    _, actions, *_ = read(tmp_path)
    np.testing.assert_array_equal(recorder.actions[:-1], actions[start_steps:])


def test_random_actions_do_not_depend_on_when_they_end(tmp_path):
    run(tmp_path / "few", start_steps=10)
    run(tmp_path / "many", start_steps=40)
    (_, few, *_), (_, many, *_) = read(tmp_path / "few"), read(tmp_path / "many")
    np.testing.assert_array_equal(few[:10], many[:10])
    assert not np.array_equal(few[10:40], many[10:40])


def test_a_member_alone_is_the_member_among_others(tmp_path):
    together = run(tmp_path / "together")
    columns = read(tmp_path / "together")[:-1]
    for member, seed in enumerate(SEEDS):
        directory = tmp_path / str(seed)
        alone = run(directory, seeds=(seed,))
        assert told(alone) == told(row for row in together if row.get("seed") == seed)
        for ours, theirs in zip(read(directory, seeds=(seed,))[:-1], columns, strict=True):
            np.testing.assert_array_equal(ours[:, 0], theirs[:, member])


# --- What it saves, and how it goes on ---------------------------------------------------------


@pytest.fixture
def whole(tmp_path):
    """Rows and directory of a run that nothing stopped."""
    return run(tmp_path / "whole"), tmp_path / "whole"


def stop_after(rows, kind, env_step):
    """Reads a run's rows up to the last of a kind at a step, then leaves it."""
    for row in rows:
        if _is_last_of(row, kind, env_step):
            break
    rows.close()


def _is_last_of(row, kind, env_step):
    return (row["kind"], row["env_step"]) == (kind, env_step) and row.get("seed") in (
        None,
        SEEDS[-1],
    )


STOPS = [
    pytest.param("timing", 25, 25, id="in the random steps"),
    pytest.param("timing", 50, 50, id="after a checkpoint"),
    pytest.param("evaluation", 50, 25, id="before a checkpoint"),
    pytest.param("training", 75, 50, id="between two checkpoints"),
    pytest.param("training", 25, 0, id="before the first checkpoint"),
]


@pytest.mark.parametrize(("kind", "env_step", "saved"), STOPS)
def test_a_stopped_run_goes_on_as_if_nothing_had_been(whole, tmp_path, kind, env_step, saved):
    rows, directory = whole
    stop_after(start(tmp_path / "stopped"), kind, env_step)
    rest = run(tmp_path / "stopped")
    assert rest[0] == {"kind": "start", "env_step": saved}
    assert told(rest) == told(rows, after=saved if saved else -1)
    assert replay_bytes(tmp_path / "stopped") == replay_bytes(directory)


@pytest.mark.parametrize(("kind", "env_step", "saved"), STOPS)
def test_a_killed_run_goes_on_from_what_is_on_the_disk(
    whole, tmp_path, recorder, kind, env_step, saved
):
    rows, directory = whole
    batches = recorder.batches
    for row in start(tmp_path / "killed"):
        if _is_last_of(row, kind, env_step):
            shutil.copytree(tmp_path / "killed", tmp_path / "found")
    recorder.batches = []
    rest = run(tmp_path / "found")
    assert told(rest) == told(rows, after=saved if saved else -1)
    assert replay_bytes(tmp_path / "found") == replay_bytes(directory)
    updates = STEPS - max(saved, SETTINGS["start_steps"])
    np.testing.assert_array_equal(recorder.batches, batches[len(batches) - updates :])


def test_a_run_may_be_stopped_again_and_again(whole, tmp_path):
    rows, directory = whole
    stop_after(start(tmp_path / "stopped"), "timing", 25)
    stop_after(start(tmp_path / "stopped"), "training", 75)
    rest = run(tmp_path / "stopped")
    assert told(rest) == told(rows, after=50)
    assert replay_bytes(tmp_path / "stopped") == replay_bytes(directory)


@pytest.mark.parametrize(("every", "checkpoint_period"), [(1, 7), (4, 1000), (13, 10)])
def test_a_run_that_is_asked_to_stop_saves_and_goes_on(whole, tmp_path, every, checkpoint_period):
    """Whatever the step, also where there is neither a row nor an evaluation."""
    rows, directory = whole
    asked, parts, stops = itertools.cycle([False] * (every - 1) + [True]), [], []
    while not stops or stops[-1]["kind"] == "stopped":
        settings = {"seeds": SEEDS, "settings": SETTINGS | {"checkpoint_period": checkpoint_period}}
        experiment = resolve(TOYS + "PointMass-v0", "td3", **settings)
        part = list(training.run(experiment, tmp_path / "asked", stop=lambda: next(asked)))
        parts += part
        stops.append(part[-1])
    assert told(parts) == told(rows)
    assert replay_bytes(tmp_path / "asked") == replay_bytes(directory)
    steps = [row["env_step"] for row in stops]
    assert steps == sorted(set(steps)) and len(steps) >= STEPS // every - 1


def test_a_checkpoint_comes_after_the_rows_of_its_step(tmp_path):
    rows = run(tmp_path, seeds=(0,), eval_period=10, log_period=20, checkpoint_period=20, steps=50)
    kinds = [(row["kind"], row["env_step"]) for row in rows if row["kind"] != "topology"]
    assert kinds == [
        *(("start", 0), ("evaluation", 0)),
        *(("evaluation", 10), ("timing", 10)),
        *(("training", 20), ("evaluation", 20), ("checkpoint", 20), ("timing", 20)),
        *(("evaluation", 30), ("timing", 30)),
        *(("training", 40), ("evaluation", 40), ("checkpoint", 40), ("timing", 40)),
        *(("training", 50), ("evaluation", 50), ("checkpoint", 50), ("timing", 50)),
    ]


def test_the_best_policy_of_each_member_is_remembered(tmp_path, monkeypatch):
    """The stand-in's policy is its state, one number a member."""
    saved = []
    save = training.Checkpoints.save
    monkeypatch.setattr(
        training.Checkpoints, "save", lambda *arguments: saved.append(arguments) or save(*arguments)
    )
    rows = run(tmp_path, eval_period=10, checkpoint_period=5)
    for member, seed in enumerate(SEEDS):
        found = [row for row in rows if row["kind"] == "evaluation" and row["seed"] == seed]
        for _, step, (parts, record, _) in saved:
            until = [row for row in found if row["env_step"] <= step]
            best = max(until, key=lambda row: row["return_mean"])  # the first of equal ones
            assert record["best_return"][member] == best["return_mean"]
            assert record["best_step"][member] == best["env_step"]
            states = {step: parts["state"]["carry"].state for _, step, (parts, _, _) in saved}
            expected = states[best["env_step"]][member] if best["env_step"] else np.float32(seed)
            assert parts["policies"]["best"][member] == expected


def test_an_environment_that_does_not_repeat_is_told(tmp_path, monkeypatch):
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


def test_a_run_goes_on_where_its_replay_is_shorter_than_an_episode(tmp_path):
    settings = {"replay_size": 3, "eval_period": 10, "checkpoint_period": 10}
    assert TIME_LIMIT > 3 + 1
    whole = run(tmp_path / "whole", **settings)
    stop_after(start(tmp_path / "stopped", **settings), "timing", 20)
    assert told(run(tmp_path / "stopped", **settings)) == told(whole, after=20)
    assert replay_bytes(tmp_path / "stopped") == replay_bytes(tmp_path / "whole")


def test_a_finished_run_has_nothing_to_do(whole):
    _, directory = whole
    before = replay_bytes(directory)
    assert run(directory) == [{"kind": "start", "env_step": STEPS}]
    assert replay_bytes(directory) == before


@pytest.mark.parametrize("first_steps", [50, 60])
def test_a_longer_run_goes_on_where_a_shorter_one_ended(whole, tmp_path, first_steps):
    rows, directory = whole
    run(tmp_path / "longer", steps=first_steps)
    rest = run(tmp_path / "longer")
    assert rest[0]["env_step"] == first_steps
    assert told(rest, "evaluation") == told(rows, "evaluation", after=first_steps)
    assert replay_bytes(tmp_path / "longer") == replay_bytes(directory)


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


# --- What it refuses ---------------------------------------------------------------------------


def seeds_by_fault():
    """Two seeds: the environment of the first keeps whole, that of the second breaks."""
    by_parity = {episode_seed(seed, 0) % 2: seed for seed in range(20)}
    return by_parity[0], by_parity[1]


@pytest.mark.parametrize("start_steps", [5, 75])
@pytest.mark.parametrize(
    ("env", "what"), [("NanObservation-v0", "observation"), ("InfiniteReward-v0", "reward")]
)
def test_what_is_not_finite_ends_the_run_and_names_seed_and_step(env, what, start_steps):
    rows, seeds = [], seeds_by_fault()
    message = f"^seed {seeds[1]}, step {Faulty.fault_step}: {what} is not finite$"
    settings = {"seeds": seeds, "start_steps": start_steps, "log_period": 5}
    with pytest.raises(NotFiniteError, match=message):
        for row in start(env=env, **settings):
            rows.append(row)
    whole = run(env="PointMass-v0", **settings)
    assert told(rows) == told(row for row in whole if row["env_step"] < Faulty.fault_step)


@pytest.fixture
def opened(monkeypatch):
    """The files that runs open for their replays."""
    opened = []

    class Recorded(training.ReplayFile):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            opened.extend(self.files)

    monkeypatch.setattr(training, "ReplayFile", Recorded)
    return opened


def test_a_run_that_has_ended_has_closed_its_files(opened, tmp_path):
    run(tmp_path, seeds=(0,), steps=5)
    assert len(opened) == 2 and all(file.closed for file in opened)


def test_a_run_that_was_left_has_closed_its_files(opened, tmp_path):
    rows = start(tmp_path, seeds=(0,), steps=5)
    next(rows)
    rows.close()
    assert len(opened) == 2 and all(file.closed for file in opened)
