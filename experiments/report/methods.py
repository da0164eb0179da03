"""Names methods: what decides which runs are seeds of the same method."""

from typing import Any, NamedTuple

from dsrl_jax.config.presets import ALGORITHMS
from dsrl_jax.config.tasks import PAPER_NAMES, task_of

# One colour per method everywhere, distinguishable by the colour-blind (Okabe, Ito).
COLORS = {
    "ds_td3": "#D55E00",
    "static_td3": "#009E73",
    "td3": "#0072B2",
    "ds_sac": "#CC79A7",
    "static_sac": "#E69F00",
    "sac": "#56B4E9",
}
LABELS = {
    "ds_td3": "DS-TD3",
    "static_td3": "Static-TD3",
    "td3": "TD3",
    "ds_sac": "DS-SAC",
    "static_sac": "Static-SAC",
    "sac": "SAC",
}

PAPER_TASKS = tuple(PAPER_NAMES.values())

Changes = tuple[tuple[str, Any], ...]

_SHORT = {"adaptation_period": "e", "lambda1": "λ1", "lambda2": "λ2", "drop_fraction": "η"}


class Method(NamedTuple):
    """Everything that decides what a run computes, except its seed and length."""

    env: str
    algo: str
    preset: str
    env_preset: str
    backend: str
    changes: Changes  # settings that differ from the preset's, by name

    @property
    def task(self) -> str:
        """The environment without its version; tasks of other packages keep their whole id."""
        return self.env if ":" in self.env else task_of(self.env)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts methods as the paper's tables do."""
        place = PAPER_TASKS.index(self.task) if self.task in PAPER_TASKS else len(PAPER_TASKS)
        algo = list(ALGORITHMS).index(self.algo)
        changes = [
            (name, float(value) if isinstance(value, int | float) else 0.0, str(value))
            for name, value in self.changes
        ]
        return place, self.where, algo, self.preset != "paper", self.preset, changes

    @property
    def where(self) -> str:
        """The environment with the choices that its returns depend on."""
        notes = [] if self.env_preset == "v5" else [f"preset {self.env_preset}"]
        notes += [] if self.backend == "gymnasium" else [self.backend]
        return self.env + (f" ({', '.join(notes)})" if notes else "")

    @property
    def label(self) -> str:
        """A name for people, without the environment."""
        notes = [] if self.preset == "paper" else [self.preset]
        for name, value in self.changes:
            if name == "initial_policy":
                notes.append(f"from a policy of {value[2]:,} steps")
            else:
                shown = f"{value:g}" if isinstance(value, float) else str(value)
                notes.append(f"{_SHORT.get(name, name)} = {shown}")
        return LABELS[self.algo] + (f" ({', '.join(notes)})" if notes else "")

    @property
    def color(self) -> str:
        """The colour of the algorithm, for any settings."""
        return COLORS[self.algo]
