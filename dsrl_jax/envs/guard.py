"""Environments whose failures are told in one line: anyone's code may run inside them."""

from typing import Any

import gymnasium


class EnvironmentFailure(RuntimeError):
    """An environment that raised an error, or whose worker died."""


class Guarded(gymnasium.Wrapper):
    """An environment that says of each error where it happened.

    Raises:
      EnvironmentFailure: from `reset` and `step`, whatever the environment raises.
    """

    def __init__(self, environment: gymnasium.Env, where: str) -> None:
        super().__init__(environment)
        self.where = where

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        try:
            return self.env.reset(**arguments)
        except Exception as error:
            raise self._failure(error) from error

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a step."""
        try:
            return self.env.step(action)
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> EnvironmentFailure:
        said = " ".join(str(error).split())
        return EnvironmentFailure(f"{self.where}: the environment failed, {_name(error)}{said}")


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: " if str(error) else type(error).__name__
