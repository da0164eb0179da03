"""An exported actor acts as the agent does: from NumPy alone, and by ONNX where it is installed."""

import json
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture(params=["ds_td3", "ds_sac"])
def run(request, tmp_path):
    """A run directory with the checkpoint of two members, and what each of them does."""
    experiment = resolve("Any-v0", request.param, seeds=SEEDS, settings=SETTINGS)
    agent = AGENTS[type(experiment.agent)](SPACES)
    program = compile_program(agent, experiment.agent, SPACES, SEEDS)
    state = program.init().state
    saved = to_saved(program, state, begin(program, state, len(SEEDS)), {}, {})
    replay_file = ReplayFile(tmp_path / "replay", Replay(SEEDS, 10, 3, 2))
    checkpoints = Checkpoints(tmp_path / "checkpoints", replay_file)
    checkpoints.save(0, saved)
    checkpoints.close()
    held = describe(experiment) | SPACES._asdict() | {"format": FORMAT}
    (tmp_path / "config.json").write_text(json.dumps(held))

    def act(member, observation):
        own = jax.tree.map(lambda leaf: leaf[member], state)
        return agent.act(experiment.agent, own, observation)

    return tmp_path, act


@pytest.fixture
def observations(rng):
    return rng.normal(size=(5, 3)).astype(np.float32)


@pytest.mark.parametrize("dense_from", [0, 0.3, 2], ids=["dense", "mixed", "sparse"])
def test_numpy_acts_as_the_agent(run, observations, dense_from):
    directory, act = run
    for member, seed in enumerate(SEEDS):
        path = dsrl_jax.export_policy(directory, directory / "actor.npz", seed=seed)
        held = policy.load(path, dense_from)
        for observation in observations:
            expected = act(member, observation)
            np.testing.assert_allclose(policy.act(held, observation), expected, atol=1e-5)
    kernels = [layer.kernel is not None for layer in held.layers]
    assert {0: all(kernels), 0.3: 0 < sum(kernels) < 3, 2: not any(kernels)}[dense_from]


def test_an_output_without_connections_gives_its_bias(tmp_path):
    empty = policy.Layer(None, np.array([1]), np.array([1]), np.float32([2]), np.float32([5, 7, 9]))
    np.testing.assert_array_equal(policy._apply(empty, np.float32([3, 4])), [5, 15, 9])


def test_the_file_has_no_pickle_and_needs_no_jax(run):
    directory, _ = run
    path = dsrl_jax.export_policy(directory, directory / "actor.npz", seed=4)
    program = (
        "import sys; sys.modules['jax'] = None\n"
        "import numpy as np\nfrom dsrl_jax import policy\n"
        f"print(policy.act(policy.load({str(path)!r}), np.zeros(3)).shape)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout == "(2,)\n", found.stderr


def test_onnx_acts_as_the_agent(run, observations):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    directory, act = run
    path = dsrl_jax.export_policy(directory, directory / "actor.onnx", seed=7)
    loaded = onnx.load(str(path))
    assert (loaded.ir_version, loaded.opset_import[0].version) == (8, 13)
    onnx.checker.check_model(loaded)
    model = ReferenceEvaluator(str(path))
    for observation in observations:
        (action,) = model.run(None, {"observation": observation})
        np.testing.assert_allclose(action, act(1, observation), atol=1e-5)


def test_an_export_that_fails_leaves_the_file_of_before(run, monkeypatch):
    directory, _ = run
    path = dsrl_jax.export_policy(directory, directory / "actor.npz", seed=4)
    before, names = path.read_bytes(), sorted(directory.iterdir())

    def fail(file, **_):
        file.write(b"a part")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space left"):
        dsrl_jax.export_policy(directory, path, seed=7)
    assert path.read_bytes() == before and sorted(directory.iterdir()) == names


def test_what_cannot_be_exported_is_said_in_one_line(run, tmp_path_factory):
    directory, _ = run
    with pytest.raises(ExportError, match="must end in .npz or .onnx, got 'actor.pkl'"):
        dsrl_jax.export_policy(directory, "actor.pkl")
    with pytest.raises(ExportError, match="seed must be one of 4, 7, got None"):
        read_layers(directory, None)
    with pytest.raises(ExportError, match="seed must be one of 4, 7, got 0"):
        read_layers(directory, 0)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(ExportError, match="is no run directory"):
        read_layers(elsewhere, None)
    (elsewhere / "config.json").write_text((directory / "config.json").read_text())
    with pytest.raises(ExportError, match="no checkpoint can be used: there is none"):
        read_layers(elsewhere, 4)
