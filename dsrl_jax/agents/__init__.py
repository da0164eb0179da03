"""TD3 and SAC, each with dense, static and dynamic sparse networks, as pure functions.

`AGENTS` maps the type of a configuration to the function that makes its agent for an environment's
spaces. Agents know no environment, so that a policy loads without one.
"""

from dsrl_jax.agents import sac, td3
from dsrl_jax.config.agents import SACConfig, TD3Config

AGENTS = {TD3Config: td3.make_agent, SACConfig: sac.make_agent}

__all__ = ["AGENTS", "sac", "td3"]
