"""A run of format 1, made when that began, stays readable: its policies, its episodes.

tests/data/format_1.json has the files that this command left, without pictures, events and lock:
python -m experiments.run --env=tests.toy_environments:PointMass-v0 --algo=ds_td3 --seeds=0:2
--hidden_sizes=8 --batch_size=8 --lambda1=1 --lambda2=2 --adaptation_period=10 --start_steps=20
--steps=60 --eval_period=20 --eval_episodes=2 --log_period=20 --checkpoint_period=60
--learning_rate=0.01 --run_dir=format_1
"""

import atexit
import csv
import json
import pickle
import shutil
import sys
import tempfile
from base64 import b64decode
from pathlib import Path

import imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dsrl_jax
from experiments import evaluate

PACKED = Path(__file__).parent / "data" / "format_1.json"
STEPS, SEEDS = 60, (0, 1)


def unpack(packed):
    """A directory with the files of a run, which goes with the process."""
    directory = Path(tempfile.mkdtemp(prefix="dsrl_jax_old_run_"))
    atexit.register(shutil.rmtree, directory)
    for name, held in json.loads(packed.read_text()).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held["text"].encode() if "text" in held else b64decode(held["base64"]))
    return directory


OLD = unpack(PACKED)


@pytest.fixture(autouse=True)
def broadcasting():
    """The agents broadcast between ranks, on purpose."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "format_1"))


def edit(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def evaluations(directory=OLD):
    with (directory / "evaluations.csv").open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def policies():
    with jax.numpy_rank_promotion("allow"):
        return {
            (seed, best): dsrl_jax.load_policy(OLD, seed=seed, best=best)
            for seed in SEEDS
            for best in (False, True)
        }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("best", [False, True], ids=["last", "best"])
def test_a_loaded_policy_plays_what_the_run_told_of_it(policies, seed, best):
    rows = [row for row in evaluations() if row["seed"] == seed]
    told = max(rows, key=lambda row: row["return_mean"]) if best else rows[-1]
    policy = policies[seed, best]
    assert (policy.seed, policy.env_step) == (seed, told["env_step"])
    returns = evaluate.play(policy, 2)
    np.testing.assert_allclose(returns, [told["return_0"], told["return_1"]], rtol=1e-4)


def test_episodes_are_the_same_however_many_are_played_at_a_time(policies, monkeypatch):
    policy, returns = policies[0, False], []
    for together in (7, 3, 1):
        monkeypatch.setattr(evaluate, "TOGETHER", together)
        returns.append(evaluate.play(policy, 7))
    np.testing.assert_allclose(returns[1:], returns[:1] * 2, rtol=1e-5)
    assert len(set(returns[0].tolist())) == 7


def test_a_run_that_cannot_be_read_for_now_is_told_in_one_line(capsys, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dsrl_jax.training.policy.load_policy", fail)
    assert evaluate.main([str(OLD), "--episodes=1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_last_and_best_are_not_the_same_here():
    """So that the test above tells them apart."""
    for seed in SEEDS:
        means = [row["return_mean"] for row in evaluations() if row["seed"] == seed]
        assert max(means) > means[-1]


def test_a_policy_takes_one_observation_or_many_of_numpy_or_jax(policies, rng):
    policy = policies[0, False]
    assert policy.spaces.observation_size == 2 and policy.spaces.action_low == (-1.0,)
    many = rng.normal(size=(3, 4, 2))
    actions = policy(many)
    assert isinstance(actions, np.ndarray) and actions.shape == (3, 4, 1)
    assert actions.dtype == np.float32 and (np.abs(actions) <= 1).all()
    assert np.unique(actions).size > 6
    np.testing.assert_allclose(policy(many[1, 2]), actions[1, 2], rtol=1e-5)
    in_jax = jax.jit(jax.vmap(policy))(jnp.asarray(many))
    assert isinstance(in_jax, jax.Array)
    np.testing.assert_allclose(in_jax, actions, rtol=1e-5)
    with pytest.raises(ValueError, match=r"must be \[\.\.\., 2\], got shape \(3,\)"):
        policy(np.zeros(3))


def test_loading_writes_nothing(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    dsrl_jax.load_policy(copy, seed=0)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_loading_executes_nothing_that_a_directory_brings(copy, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(copy, env="stranger:Id-v0")
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.delattr(pickle, name)
    dsrl_jax.load_policy(copy, seed=0)
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: edit(run, format=2), "has format 2, this version reads format 1"),
        (lambda run: edit(run, algo="ds_td4"), "damaged .*did you mean ds_td3"),
        (lambda run: edit(run, tau=-1), r"damaged .*tau must be in \[0, 1\], got -1"),
        (lambda run: edit(run, action_low="x"), "damaged"),
        (lambda run: edit(run, seeds=["0", 1]), "damaged .*seeds"),
        (lambda run: edit(run, hidden_sizes=[7]), "60/policies is of other networks"),
        (lambda run: (run / "config.json").write_text("{"), "config.json is damaged"),
        (lambda run: (run / "config.json").unlink(), "no run directory"),
        (
            lambda run: shutil.rmtree(run / "checkpoints"),
            "no checkpoint can be used: there is none",
        ),
        (lambda run: shutil.rmtree(run / "checkpoints/60/policies"), "no checkpoint can be used"),
    ],
)
def test_what_cannot_be_loaded_is_told(copy, change, message):
    change(copy)
    with pytest.raises(ValueError, match=message):
        dsrl_jax.load_policy(copy, seed=0)


@pytest.mark.parametrize("seed", [None, 2])
def test_a_seed_has_to_be_one_of_the_run(seed):
    with pytest.raises(ValueError, match=f"seed must be one of 0, 1, got {seed}"):
        dsrl_jax.load_policy(OLD, seed=seed)


# --- experiments.evaluate ------------------------------------------------------------------------


def test_evaluate_tells_mean_deviation_and_quantiles(capsys):
    assert evaluate.main([str(OLD), "--episodes=2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-2:]]
    for row, told in zip(rows, evaluations()[-2:], strict=True):
        low, high = sorted([told["return_0"], told["return_1"]])
        middle = (low + high) / 2
        expected = [told["seed"], STEPS, told["return_mean"], told["return_std"]]
        expected += [low, (low + middle) / 2, middle, (middle + high) / 2, high]
        np.testing.assert_allclose([float(cell) for cell in row], expected, atol=0.06)


def test_a_video_shows_an_episode(copy, tmp_path, capsys):
    edit(copy, env="tests.toy_environments:Drawn-v0")
    path = tmp_path / "episode.gif"
    arguments = [str(copy), "--episodes=1", "--seed=1", "--best", f"--video={path}"]
    assert evaluate.main(arguments) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    frames = np.stack([frame[..., :3] for frame in imageio.mimread(path)])
    assert f"an episode of {len(frames) - 1} steps" in said
    columns = frames.sum(axis=(1, 3)).argmax(axis=1)
    assert np.unique(columns).size > 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "name one run directory, got 0"),
        ([OLD, OLD], 2, "name one run directory, got 2"),
        (["nowhere"], 2, "nowhere is no run directory"),
        ([OLD, "--episodes=0"], 2, "episodes"),
        ([OLD, "--episode=3"], 2, "did you mean --episodes"),
        ([OLD, "--seed=7"], 2, "seed must be one of 0, 1, got 7"),
        ([OLD, "--video=a.avi"], 2, ".gif or .mp4, got 'a.avi'"),
        ([OLD, "--episodes=1", "--seed=0", "--video=none/a.gif"], 1, "no video"),
    ],
)
def test_evaluate_refuses_in_one_line(arguments, status, message, capsys):
    assert evaluate.main([str(argument) for argument in arguments]) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
