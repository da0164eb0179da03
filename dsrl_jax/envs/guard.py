"""Wraps an environment, which may be third-party code, and reports its errors in one line."""

from typing import Any

import gymnasium


class EnvironmentFailure(RuntimeError):
    """An environment raised an error, or its worker died."""


class Guarded(gymnasium.Wrapper):
    """Turns every error of an environment into an `EnvironmentFailure`, which says where it failed.

    Raises:
      EnvironmentFailure: from `reset` and `step`, for any error of the environment.
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
        name, reason = type(error).__name__, " ".join(str(error).split())
        what = f"{name}: {reason}" if reason else name
        return EnvironmentFailure(f"{self.where}: the environment failed, {what}")
