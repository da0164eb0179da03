"""An exported actor acts as the agent does: with only NumPy, and with ONNX if it is installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

import dsrl_jax
from dsrl_jax import policy
from dsrl_jax.agents import AGENTS
from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.loop import FORMAT
from dsrl_jax.config.presets import resolve
from dsrl_jax.config.to_json import describe
from dsrl_jax.export import ExportError, read_layers
from dsrl_jax.training.checkpoints.checkpoint import Checkpoints
from dsrl_jax.training.host.replay import Replay
from dsrl_jax.training.host.replay_file import ReplayFile
from dsrl_jax.training.program import compile_program
from dsrl_jax.training.progress import begin, to_saved

ROOT = Path(__file__).parent.parent
SPACES = Spaces(3, (-1.0, -4.0), (2.0, 4.0))
SETTINGS = {
    "hidden_sizes": (16, 12),
    "sparsity": 0.8,
    "sparse_layers": ("input", "hidden", "output"),
}
SEEDS = (4, 7)


class Run(NamedTuple):
    """A run directory with a checkpoint, and what its two members do.

    observations: [5, n]
    actions: [members, 5, n_action], the agent's
    """

    directory: Path
    observations: np.ndarray
    actions: np.ndarray


@pytest.fixture(scope="module", params=["ds_td3", "ds_sac"])
def run(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    experiment = resolve("Any-v0", request.param, seeds=SEEDS, settings=SETTINGS)
    agent = AGENTS[type(experiment.agent)](SPACES)
    program = compile_program(agent, experiment.agent, SPACES, SEEDS)
    state = program.init().state
    saved = to_saved(program, state, begin(program, state, len(SEEDS)), {}, {})
    replay_file = ReplayFile(directory / "replay", Replay(SEEDS, 10, 3, 2))
    checkpoints = Checkpoints(directory / "checkpoints", replay_file)
    checkpoints.save(0, saved)
    checkpoints.close()
    description = describe(experiment) | SPACES._asdict() | {"format": FORMAT}
    (directory / "config.json").write_text(json.dumps(description))

    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    act = jax.vmap(agent.act, (None, None, 0))
    actions = jax.vmap(act, (None, 0, None))(experiment.agent, state, observations)
    return Run(directory, observations, np.asarray(actions))


def test_numpy_acts_as_the_agent(run, tmp_path):
    for member, seed in enumerate(SEEDS):
        path = dsrl_jax.export_policy(run.directory, tmp_path / "actor.npz", seed=seed)
        for dense_from in (0, 0.3, 2):
            loaded = policy.load(path, dense_from)
            actions = [policy.act(loaded, observation) for observation in run.observations]
            np.testing.assert_allclose(actions, run.actions[member], atol=1e-5)
            kernels = [layer.kernel is not None for layer in loaded.layers]
            dense = {0: all(kernels), 0.3: 0 < sum(kernels) < 3, 2: not any(kernels)}
            assert dense[dense_from]


def test_an_output_without_connections_returns_its_bias():
    empty = policy.Layer(None, np.array([1]), np.array([1]), np.float32([2]), np.float32([5, 7, 9]))
    np.testing.assert_array_equal(policy._apply(empty, np.float32([3, 4])), [5, 15, 9])


def test_the_file_has_no_pickle_and_needs_no_jax(run, tmp_path):
    path = dsrl_jax.export_policy(run.directory, tmp_path / "actor.npz", seed=4)
    program = (
        "import sys; sys.modules['jax'] = None\n"
        "import numpy as np\nfrom dsrl_jax import policy\n"
        f"print(policy.act(policy.load({str(path)!r}), np.zeros(3)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "(2,)\n", done.stderr


def test_onnx_acts_as_the_agent(run, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    path = dsrl_jax.export_policy(run.directory, tmp_path / "actor.onnx", seed=7)
    loaded = onnx.load(str(path))
    assert (loaded.ir_version, loaded.opset_import[0].version) == (8, 13)
    onnx.checker.check_model(loaded)
    model = ReferenceEvaluator(str(path))
    for observation, expected in zip(run.observations, run.actions[1], strict=True):
        (action,) = model.run(None, {"observation": observation})
        np.testing.assert_allclose(action, expected, atol=1e-5)


def test_a_failed_export_leaves_the_existing_file(run, tmp_path, monkeypatch):
    path = dsrl_jax.export_policy(run.directory, tmp_path / "actor.npz", seed=4)
    before = path.read_bytes()

    def fail(file, **_):
        file.write(b"a part")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space left"):
        dsrl_jax.export_policy(run.directory, path, seed=7)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_errors_are_one_line(run, tmp_path):
    with pytest.raises(ExportError, match="must end in .npz or .onnx, got 'actor.pkl'"):
        dsrl_jax.export_policy(run.directory, "actor.pkl")
    for seed in (None, 0):
        with pytest.raises(ExportError, match=f"seed must be one of 4, 7, got {seed}"):
            read_layers(run.directory, seed)
    with pytest.raises(ExportError, match="is no run directory"):
        read_layers(tmp_path)
    (tmp_path / "config.json").write_text((run.directory / "config.json").read_text())
    with pytest.raises(ExportError, match="no checkpoint can be used: there is none"):
        read_layers(tmp_path, 4)
