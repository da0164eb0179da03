"""The arrays of a checkpoint, which Orbax writes: their names, shapes and room on the disk."""

import collections
import hashlib
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

# Names of NamedTuple fields in the files of checkpoints, if the fields have other names now.
DISK_NAMES = {"threshold": "weakest"}


class RestoreError(ValueError):
    """There are checkpoints, but none can be used."""


class SaveError(OSError):
    """A checkpoint cannot be written."""


def read_parts(place: Path, record: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Reads parts of a whole checkpoint. Raises RestoreError if they have other shapes."""
    for name, tree in like.items():
        if record["shapes"].get(name) != digest_shapes(
            tree
        ):  # Orbax would fill or cut such arrays.
            raise RestoreError(f"{place / name} is of other networks, or of another version")
    templates = jax.tree.map(ocp.utils.to_shape_dtype_struct, with_disk_names(like))
    parts = {}
    with ocp.StandardCheckpointer(multiprocessing_options=this_process()) as checkpointer:
        for name, template in templates.items():
            leaves = jax.tree.leaves(checkpointer.restore(place.resolve() / name, template))
            # As NumPy arrays: a program would be compiled again for Orbax's placement.
            parts[name] = jax.tree.unflatten(
                jax.tree.structure(like[name]), map(np.asarray, leaves)
            )
    return parts


def with_disk_names(tree: Any) -> Any:
    """Returns the tree with fields named as in the files; the order of leaves stays the same."""
    if isinstance(tree, dict):
        return {name: with_disk_names(part) for name, part in tree.items()}
    if not isinstance(tree, tuple):
        return tree
    parts = map(with_disk_names, tree)
    if not hasattr(tree, "_fields"):
        return tuple(parts)
    make_type: Any = collections.namedtuple
    names = [DISK_NAMES.get(name, name) for name in tree._fields]
    return make_type(type(tree).__name__, names)(*parts)


def this_process() -> ocp.options.MultiprocessingOptions:
    """Returns options by which this process saves by itself, if several train one run."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


def digest_shapes(tree: Any) -> str:
    """Returns a digest of a tree's structure: each leaf's place, shape and dtype."""
    leaves = jax.tree.leaves_with_path(with_disk_names(tree))
    forms = [(jax.tree_util.keystr(place), leaf.shape, str(leaf.dtype)) for place, leaf in leaves]
    return hashlib.sha256(repr(forms).encode()).hexdigest()


def check_room(directory: Path, parts: Any) -> None:
    """Checks free space for a checkpoint by allocating it once.

    On a full disk each thread of Orbax prints many lines.

    Raises:
      OSError: if there is too little.
    """
    leaves = jax.tree.leaves(parts)
    # Twice the arrays, which are gathered when all are written, and a block for each one's name.
    needed = 2 * sum(leaf.nbytes for leaf in leaves) + 4096 * (len(leaves) + 64)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    path = directory / "room"
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, needed)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SaveError(f"no room for a checkpoint of {needed:,} bytes: {reason}") from error
    finally:
        path.unlink(missing_ok=True)
