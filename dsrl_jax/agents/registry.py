"""Which agent a configuration is of; knows no environment, so that a policy loads without one."""

from dsrl_jax.agents import sac, td3
from dsrl_jax.config.agents import SACConfig, TD3Config

AGENTS = {TD3Config: td3.make_agent, SACConfig: sac.make_agent}
