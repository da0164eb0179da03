"""An exported actor acts as the agent does: from NumPy alone, and by ONNX where it is installed."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import dsrl_jax
from dsrl_jax import policy
from dsrl_jax.agents import sac, td3
from dsrl_jax.agents.config import SACConfig, SparseConfig, TD3Config
from dsrl_jax.agents.types import Spaces
from dsrl_jax.export import ExportError, read_actor

ROOT = Path(__file__).parent.parent
SPACES = Spaces(3, (-1.0, -4.0), (2.0, 4.0))
SPARSE = SparseConfig(topology="dynamic", sparsity=0.8, sparse_layers=("input", "hidden", "output"))
AGENTS = {
    "td3": (td3, TD3Config(hidden_sizes=(16, 12), sparse=SPARSE)),
    "sac": (sac, SACConfig(hidden_sizes=(16, 12), sparse=SPARSE)),
}
SEEDS = [4, 7]


@pytest.fixture(params=AGENTS)
def run(request, tmp_path):
    """A run directory with the checkpoint of two members, and what each of them does."""
    module, config = AGENTS[request.param]
    agent = module.make_agent(SPACES)
    states = [jax.jit(agent.init)(jax.random.key(seed), config) for seed in SEEDS]
    carry = {"state": jax.tree.map(lambda *leaves: np.stack(leaves), *states)}
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        saved = ocp.args.StandardSave({"carry": carry})
        manager.save(10, args=ocp.args.Composite(arrays=saved, record=ocp.args.JsonSave({})))
    held = {"seeds": SEEDS, "action_low": SPACES.action_low, "action_high": SPACES.action_high}
    (tmp_path / "config.json").write_text(json.dumps(held))
    return tmp_path, lambda member, observation: agent.act(config, states[member], observation)


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
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    directory, act = run
    path = dsrl_jax.export_policy(directory, directory / "actor.onnx", seed=7)
    model = ReferenceEvaluator(str(path))
    for observation in observations:
        (action,) = model.run(None, {"observation": observation})
        np.testing.assert_allclose(action, act(1, observation), atol=1e-5)


def test_what_cannot_be_exported_is_said_in_one_line(run, tmp_path_factory):
    directory, _ = run
    with pytest.raises(ExportError, match="must end in .npz or .onnx, got 'actor.pkl'"):
        dsrl_jax.export_policy(directory, "actor.pkl")
    with pytest.raises(ExportError, match="seed must be one of 4, 7, got None"):
        read_actor(directory, None)
    with pytest.raises(ExportError, match="seed must be one of 4, 7, got 0"):
        read_actor(directory, 0)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(ExportError, match="is no run directory"):
        read_actor(elsewhere, None)
    (elsewhere / "config.json").write_text('{"seeds": [0]}')
    with pytest.raises(ExportError, match="has no checkpoint yet"):
        read_actor(elsewhere, None)
