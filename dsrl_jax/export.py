"""A run's actor as a file for small devices: sparse in an .npz, or ONNX."""

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Of the file, whatever onnx writes it: old enough for the runtimes of small devices.
_IR_VERSION, _OPSET = 8, 13


class ExportError(ValueError):
    """A run that cannot be exported, in one line."""


class Actor(NamedTuple):
    """Kernels `[n_in, n_out]` and biases of the deterministic policy, and the action's bounds."""

    layers: list[tuple[np.ndarray, np.ndarray]]
    action_low: np.ndarray
    action_high: np.ndarray


def export_policy(
    run_dir: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    seed: int | None = None,
    member: int | None = None,
    best: bool = False,
) -> Path:
    """Writes the actor of a run's last checkpoint.

    Args:
      path: ends in `.npz`: a list of connections, which `dsrl_jax.policy` reads with NumPy alone;
        or in `.onnx`: dense kernels, for which the package onnx must be installed.
      seed: whose actor; may be left out if the run has one seed.
      member: the number of whose actor it is, where members share a seed.
      best: the actor of the highest mean return of all evaluations, in place of the last one.
    Returns:
      The path.
    Raises:
      ExportError: if the run has no checkpoint, no such seed, or the path another ending.
    """
    path = Path(path)
    writers = {".npz": write_npz, ".onnx": _write_onnx}
    if path.suffix not in writers:
        raise ExportError(f"path must end in .npz or .onnx, got {str(path)!r}")
    if path.suffix == ".onnx" and importlib.util.find_spec("onnx") is None:
        raise ExportError("an .onnx file needs the package onnx: pip install onnx")
    actor = read_layers(run_dir, seed, member=member, best=best)
    temporary = path.with_name(f"{path.name}.new")  # what is at `path` is always a whole file
    try:
        writers[path.suffix](temporary, actor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_layers(
    run_dir: str | os.PathLike[str],
    seed: int | None = None,
    *,
    member: int | None = None,
    best: bool = False,
) -> Actor:
    """The deterministic policy's layers. Raises ExportError, as `export_policy`."""
    from dsrl_jax.training import policy

    try:
        held = policy.read_actor(Path(run_dir), seed=seed, member=member, best=best)
    except (ValueError, OSError) as error:
        raise ExportError(str(error)) from error
    layers = [
        (held.params[name]["kernel"], held.params[name]["bias"])
        for name in _layer_names(held.params)
    ]
    low, high = np.asarray([held.spaces.action_low, held.spaces.action_high], np.float32)
    return Actor(layers, low, high)


def _layer_names(params: dict[str, Any]) -> list[str]:
    """Hidden layers in order, then TD3's output or SAC's mean."""
    hidden = [name for name in params if name.startswith("hidden_")]
    head = "output" if "output" in params else "mean"
    return [*sorted(hidden, key=lambda name: int(name.split("_")[1])), head]


def write_npz(path: Path, actor: Actor) -> None:
    """Indices in the smallest integers that hold them; weights that are exactly 0 are left out."""
    held: dict[str, Any] = {
        "layers": np.int32(len(actor.layers)),
        "action_low": actor.action_low,
        "action_high": actor.action_high,
    }
    for index, (kernel, bias) in enumerate(actor.layers):
        outputs, inputs = np.nonzero(kernel.T)
        degrees = np.bincount(outputs, minlength=len(bias))
        held |= {
            f"n_in_{index}": np.int32(kernel.shape[0]),
            f"inputs_{index}": inputs.astype(np.min_scalar_type(kernel.shape[0])),
            f"degrees_{index}": degrees.astype(np.min_scalar_type(kernel.shape[0])),
            f"weights_{index}": kernel[inputs, outputs],
            f"bias_{index}": bias,
        }
    with path.open("wb") as file:  # given a path, NumPy would append .npz
        np.savez_compressed(file, **held)


def _write_onnx(path: Path, actor: Actor) -> None:
    """observation [n] -> action [n_action]: MatMul, Add, Relu, …, Tanh, stretched to the bounds."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, last = [], [], "observation"

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(kind: str, *inputs: str, output: str) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output]))
        return output

    for index, (kernel, bias) in enumerate(actor.layers):
        kernel_name, bias_name = (
            constant(f"kernel_{index}", kernel),
            constant(f"bias_{index}", bias),
        )
        product = node("MatMul", last, kernel_name, output=f"product_{index}")
        last = node("Add", product, bias_name, output=f"sum_{index}")
        if index < len(actor.layers) - 1:
            last = node("Relu", last, output=f"hidden_{index}")
    low, high = actor.action_low, actor.action_high
    squashed = node("Tanh", last, output="squashed")
    scaled = node("Mul", squashed, constant("half_range", (high - low) / 2), output="scaled")
    node("Add", scaled, constant("middle", (high + low) / 2), output="action")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [size])
        for name, size in (("observation", actor.layers[0][0].shape[0]), ("action", len(low)))
    ]
    graph = helper.make_graph(nodes, "policy", ends[:1], ends[1:], constants)
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
    path.write_bytes(model.SerializeToString())
