"""Dynamic sparse training for deep reinforcement learning in JAX (Sokar et al., IJCAI 2022).

`sparse` has the method as pure functions, `train` runs whole experiments, `load_policy` loads a
trained policy, and `export_policy` writes it for small devices. Each is imported on first use, so
that the package imports quickly and without an environment library.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["export_policy", "load_policy", "sparse", "train"]

_MODULES = {
    "export_policy": "dsrl_jax.export",
    "load_policy": "dsrl_jax.training.policy",
    "train": "dsrl_jax.training.train",
}


def __getattr__(name: str) -> Any:
    if name == "sparse":
        return importlib.import_module("dsrl_jax.sparse")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("dsrl_jax", ""):
            raise
        raise ModuleNotFoundError(
            f"dsrl_jax.{name} needs {error.name}: pip install 'dsrl_jax[gymnasium]'",
            name=error.name,
        ) from None
