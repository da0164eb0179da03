"""The paper's printed numbers: the cells of its tables, and the curve of each method."""

from experiments.paper.figures import POLICY_STEPS, SEEDS
from experiments.report.methods import PAPER_TASKS, Method
from experiments.report.paper_curves import Curve, read_curves
from experiments.report.statistics import Sample, from_population

_FIGURE_1 = ("td3", "static_td3", "ds_td3", "sac")
_FIGURE_4 = ("sac", "ds_sac")
# Figures by the training steps of the policy that fills the first buffer.
FIGURES_3 = dict(zip(POLICY_STEPS, ("3a", "3b"), strict=True))

# By table, task and algorithm: mean and deviation of the last evaluation over five seeds.
RETURNS: dict[str, dict[str, dict[str, tuple[float, float]]]] = {
    "1": {
        task: dict(zip(_FIGURE_1, row, strict=True))
        for task, row in {
            "HalfCheetah": (
                (11153.48, 473.29),
                (10583.84, 307.03),
                (11459.88, 482.55),
                (11415.23, 357.22),
            ),
            "Walker2d": (
                (4042.36, 576.57),
                (3951.01, 443.78),
                (4870.57, 525.33),
                (4566.18, 448.25),
            ),
            "Hopper": (
                (2184.78, 1224.14),
                (3570.88, 43.71),
                (3587.17, 70.62),
                (3387.36, 148.73),
            ),
            "Ant": (
                (4287.69, 1080.88),
                (4148.61, 801.34),
                (5011.56, 596.95),
                (5848.64, 385.85),
            ),
            "Humanoid": (
                (3809.15, 1053.40),
                (4989.47, 546.32),
                (5238.16, 121.71),
                (5518.61, 97.03),
            ),
        }.items()
    },
    "5": {
        "HalfCheetah": {"sac": (11645.12, 425.585), "ds_sac": (11084.39, 445.15)},
        "Walker2d": {"sac": (3858.20, 689.913), "ds_sac": (4216.77, 236.23)},
        "Hopper": {"sac": (3100.39, 374.45), "ds_sac": (3229.39, 135.82)},
        "Ant": {"sac": (5899.30, 197.15), "ds_sac": (5943.54, 169.95)},
        "Humanoid": {"sac": (5425.56, 196.33), "ds_sac": (5584.64, 109.40)},
    },
}

# By table, task and algorithm: the learning curve area.
AREAS: dict[str, dict[str, dict[str, float]]] = {
    "2": {
        task: dict(zip(_FIGURE_1, row, strict=True))
        for task, row in {
            "HalfCheetah": (1.7686, 1.7666, 1.9560, 1.7297),
            "Walker2d": (0.5264, 0.5167, 0.6956, 0.6128),
            "Hopper": (0.4788, 0.4984, 0.5435, 0.5572),
            "Ant": (0.5524, 0.5807, 0.6623, 0.7969),
            "Humanoid": (0.3635, 0.5182, 0.6089, 0.5639),
        }.items()
    },
    "4": {
        task: dict(zip(_FIGURE_4, row, strict=True))
        for task, row in {
            "HalfCheetah": (1.6229, 1.7081),
            "Walker2d": (0.5368, 0.5906),
            "Hopper": (0.4441, 0.4875),
            "Ant": (0.7504, 0.8229),
            "Humanoid": (0.3776, 0.6777),
        }.items()
    },
}


def curve_of(method: Method) -> Curve | None:
    """Returns the paper's curve of a method, or None."""
    figure = figure_of(method)
    return read_curves().get((figure, method.task, method.algo)) if figure else None


def figure_of(method: Method) -> str:
    """Returns the figure with the curve of a method; empty if there is none."""
    changes = dict(method.changes)
    policy = changes.pop("initial_policy", None)
    if changes or method.backend == "brax" or method.task not in PAPER_TASKS:
        return ""
    if policy:
        return FIGURES_3.get(policy[2], "")
    return "4" if "sac" in method.algo and method.preset != "figure1" else "1"


def returns_of(table: str, task: str, algo: str) -> Sample:
    """Returns a cell of Table 1 or 5. The paper does not say so; its deviations count as over n."""
    mean, deviation = RETURNS[table][task][algo]
    return from_population(mean, deviation, len(SEEDS))
