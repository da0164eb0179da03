"""Exports a run's actor for small devices: as sparse layers in an .npz file, or as ONNX."""

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Versions of the written file, with any version of onnx; runtimes of small devices read them.
_IR_VERSION, _OPSET = 8, 13


class ExportError(ValueError):
    """A run cannot be exported; the message is one line."""


class Actor(NamedTuple):
    """The deterministic policy: kernels `[n_in, n_out]` and biases, and the action's bounds."""

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
      path: ends in `.npz` for a list of connections, which `dsrl_jax.policy` reads and needs only
        NumPy for, or in `.onnx` for dense kernels, which needs the package onnx.
      seed: the actor's seed; may be omitted if the run has one seed.
      member: the actor's number, if members share a seed.
      best: whether to export the actor with the highest mean return of all evaluations, in place
        of the last one.
    Returns:
      The path.
    Raises:
      ExportError: if the run has no checkpoint or no such seed, or if the path ends otherwise.
    """
    path = Path(path)
    writers = {".npz": write_npz, ".onnx": _write_onnx}
    if path.suffix not in writers:
        raise ExportError(f"path must end in .npz or .onnx, got {str(path)!r}")
    if path.suffix == ".onnx" and importlib.util.find_spec("onnx") is None:
        raise ExportError("an .onnx file needs the package onnx: pip install onnx")
    actor = read_layers(run_dir, seed, member=member, best=best)
    temporary = path.with_name(f"{path.name}.new")  # A failure leaves the file at `path`.
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
    """Reads the deterministic policy's layers; arguments and errors are `export_policy`'s."""
    from dsrl_jax.training import policy

    try:
        actor = policy.read_actor(Path(run_dir), seed=seed, member=member, best=best)
    except (ValueError, OSError) as error:
        raise ExportError(str(error)) from error
    params = actor.params
    hidden = [name for name in params if name.startswith("hidden_")]
    hidden.sort(key=lambda name: int(name.split("_")[1]))
    head = "output" if "output" in params else "mean"  # TD3's or SAC's
    layers = [(params[name]["kernel"], params[name]["bias"]) for name in [*hidden, head]]
    low, high = np.asarray([actor.spaces.action_low, actor.spaces.action_high], np.float32)
    return Actor(layers, low, high)


def write_npz(path: Path, actor: Actor) -> None:
    """Writes the nonzero weights, with indices in the smallest sufficient integer type."""
    arrays: dict[str, Any] = {
        "layers": np.int32(len(actor.layers)),
        "action_low": actor.action_low,
        "action_high": actor.action_high,
    }
    for index, (kernel, bias) in enumerate(actor.layers):
        outputs, inputs = np.nonzero(kernel.T)
        degrees = np.bincount(outputs, minlength=len(bias))
        arrays |= {
            f"n_in_{index}": np.int32(kernel.shape[0]),
            f"inputs_{index}": inputs.astype(np.min_scalar_type(kernel.shape[0])),
            f"degrees_{index}": degrees.astype(np.min_scalar_type(kernel.shape[0])),
            f"weights_{index}": kernel[inputs, outputs],
            f"bias_{index}": bias,
        }
    with path.open("wb") as file:  # Given a path, NumPy would append .npz.
        np.savez_compressed(file, **arrays)


def _write_onnx(path: Path, actor: Actor) -> None:
    """Writes the graph observation [n] -> MatMul, Add, Relu, …, Tanh, rescaled -> action [m]."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, last = [], [], "observation"

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(kind: str, *inputs: str, output: str) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output]))
        return output

    for index, (kernel, bias) in enumerate(actor.layers):
        kernel_name = constant(f"kernel_{index}", kernel)
        product = node("MatMul", last, kernel_name, output=f"product_{index}")
        last = node("Add", product, constant(f"bias_{index}", bias), output=f"sum_{index}")
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
