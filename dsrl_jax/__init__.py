"""Dynamic sparse training for deep reinforcement learning in JAX (Sokar et al., IJCAI 2022).

`sparse` holds the method as pure functions, `train` runs whole experiments, `load_policy` gives the
policy of one, and `export_policy` writes it for small devices. They are loaded when they are first
used, so that the package imports at once and without an environment library.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["export_policy", "load_policy", "sparse", "train"]


def __getattr__(name: str) -> Any:
    if name == "sparse":
        return importlib.import_module("dsrl_jax.sparse")
    if name == "export_policy":
        return importlib.import_module("dsrl_jax.export").export_policy
    if name == "train":
        return importlib.import_module("dsrl_jax.training.train").train
    if name == "load_policy":
        return importlib.import_module("dsrl_jax.training.policy").load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
