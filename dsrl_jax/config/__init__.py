"""Settings and experiments. No module of this folder imports JAX or an environment library."""

from dsrl_jax.config.agents import ALGORITHMS, AgentConfig, Algorithm, SACConfig, TD3Config
from dsrl_jax.config.checks import validate
from dsrl_jax.config.experiment import Experiment, InitialPolicy
from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.members import join, resolve_members
from dsrl_jax.config.presets import PRESETS, resolve
from dsrl_jax.config.settings import check_limits, flatten, override, settings_of
from dsrl_jax.config.sparsity import SparseConfig
from dsrl_jax.config.to_json import describe, from_description, read_experiment

__all__ = [
    "ALGORITHMS",
    "PRESETS",
    "AgentConfig",
    "Algorithm",
    "BraxConfig",
    "Experiment",
    "InitialPolicy",
    "LoopConfig",
    "SACConfig",
    "SparseConfig",
    "TD3Config",
    "check_limits",
    "describe",
    "flatten",
    "from_description",
    "join",
    "override",
    "read_experiment",
    "resolve",
    "resolve_members",
    "settings_of",
    "validate",
]
