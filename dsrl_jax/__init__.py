"""Dynamic sparse training for deep reinforcement learning in JAX (Sokar et al., IJCAI 2022).

`sparse` holds the method as pure functions, `train` runs whole experiments, `load_policy` gives the
policy of one, and `export_policy` writes it for small devices. They are loaded when they are first
used, so that the package imports at once and without an environment library.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["export_policy", "load_policy", "sparse", "train"]


_PLACES = {
    "export_policy": "dsrl_jax.export",
    "load_policy": "dsrl_jax.training.policy",
    "train": "dsrl_jax.training.train",
}


def __getattr__(name: str) -> Any:
    if name == "sparse":
        return importlib.import_module("dsrl_jax.sparse")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_PLACES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("dsrl_jax", ""):
            raise
        raise ModuleNotFoundError(
            f"dsrl_jax.{name} needs {error.name}: pip install 'dsrl_jax[gymnasium]'",
            name=error.name,
        ) from None
