"""The paper's claims as data, each with its source; `verdicts` judges them."""

from typing import NamedTuple

from experiments.paper.figures import PERIODS, POLICY_STEPS, SPARSITY_LAMBDAS
from experiments.report.methods import PAPER_TASKS, Changes, Method

FINAL, AREA = "final", "learning_curve_area"


class Arm(NamedTuple):
    """A method, on any version of a claim's task."""

    algo: str
    preset: str = "paper"
    changes: Changes = ()

    def is_of(self, method: Method, task: str) -> bool:
        """Returns whether a method is this one on a task; on Brax none is."""
        names = (method.task, method.algo, method.preset, method.changes)
        return names == (task, *self) and method.backend != "brax"


class Claim(NamedTuple):
    """One method is better than another, as good, or as good sooner."""

    kind: str  # higher, close (within a tenth of the second's mean) or sooner (by half the steps)
    task: str
    first: Arm
    second: Arm
    measure: str
    source: str


TD3, STATIC, DYNAMIC = Arm("td3"), Arm("static_td3"), Arm("ds_td3")
SAC, DYNAMIC_SAC = Arm("sac"), Arm("ds_sac")
SOFT_SAC = Arm("sac", "figure1")


def schedule(period: int) -> Arm:
    """Returns DS-TD3 with an adaptation period (Figure 2a)."""
    return Arm("ds_td3", changes=(("adaptation_period", period),))


def sparsity(percent: int) -> Arm:
    """Returns DS-TD3 with a sparsity on HalfCheetah, in percent (Figure 2b)."""
    lambda1, lambda2 = SPARSITY_LAMBDAS[percent]
    return Arm("ds_td3", changes=(("lambda1", lambda1), ("lambda2", lambda2)))


def started(algo: str, steps: int) -> Arm:
    """Returns a method that starts from samples of its own policy (Figure 3)."""
    return Arm(algo, changes=(("initial_policy", (algo, "paper", steps)),))


SPARSITY_25, SPARSITY_80 = sparsity(25), sparsity(80)

# Figure 2: final return and LCA on HalfCheetah, read from the figure.
FIGURE_2A = {
    "e = 200": (schedule(200), 11136, 1.854),
    "e = 500": (schedule(500), 11563, 1.903),
    "e = 1000": (DYNAMIC, 11460, 1.956),
    "e = 2000": (schedule(2000), 10965, 1.808),
    "dense": (TD3, 11153, 1.769),
}
FIGURE_2B = {
    "0 %": (TD3, 11153, 1.769),
    "25 %": (SPARSITY_25, 11389, 1.884),
    "50 %": (DYNAMIC, 11460, 1.956),
    "80 %": (SPARSITY_80, 8820, 1.443),
}


def _higher(
    tasks: tuple[str, ...], first: Arm, second: Arm, measure: str, source: str
) -> list[Claim]:
    return [Claim("higher", task, first, second, measure, source) for task in tasks]


def _on_half_cheetah() -> list[Claim]:
    """Section 4.6."""
    task = ("HalfCheetah",)
    others = [schedule(period) for period in PERIODS if period != 1000]  # DYNAMIC has 1000.
    dense = [started("td3", steps) for steps in POLICY_STEPS]
    sparse = [started("ds_td3", steps) for steps in POLICY_STEPS]
    return [
        *(
            claim
            for other in others
            for measure in (AREA, FINAL)
            for claim in _higher(task, DYNAMIC, other, measure, "Figure 2a")
        ),
        Claim("close", task[0], schedule(2000), TD3, FINAL, "Figure 2a"),
        *_higher(task, SPARSITY_25, TD3, AREA, "Figure 2b"),
        *_higher(task, SPARSITY_25, TD3, FINAL, "Figure 2b"),
        *_higher(task, TD3, SPARSITY_80, FINAL, "Figure 2b"),
        *_higher(task, sparse[0], dense[0], FINAL, "Figure 3a"),
        *_higher(task, sparse[1], dense[1], FINAL, "Figure 3b"),
        *_higher(task, dense[1], dense[0], FINAL, "Figure 3"),
    ]


CLAIMS = (
    *_higher(PAPER_TASKS, DYNAMIC, TD3, FINAL, "Section 4.5, Table 1"),
    *_higher(PAPER_TASKS, DYNAMIC, TD3, AREA, "Section 4.5, Table 2"),
    *_higher(PAPER_TASKS, DYNAMIC, STATIC, AREA, "Section 4.5, Table 2"),
    *_higher(("HalfCheetah", "Walker2d", "Humanoid"), DYNAMIC, SOFT_SAC, AREA, "Table 2"),
    *_higher(("HalfCheetah", "Walker2d", "Hopper"), DYNAMIC, SOFT_SAC, FINAL, "Table 1"),
    *(Claim("sooner", task, DYNAMIC, TD3, FINAL, "Section 4.5, Figure 1") for task in PAPER_TASKS),
    *_higher(("Humanoid",), STATIC, TD3, FINAL, "Section 4.5, Table 1"),
    *(
        Claim("close", task, STATIC, TD3, FINAL, "Section 4.5, Table 1")
        for task in PAPER_TASKS
        if task != "Humanoid"
    ),
    *_on_half_cheetah(),
    *_higher(PAPER_TASKS, DYNAMIC_SAC, SAC, AREA, "Appendix A, Table 4"),
    *_higher(PAPER_TASKS[1:], DYNAMIC_SAC, SAC, FINAL, "Appendix A, Table 5"),
    Claim("close", "HalfCheetah", DYNAMIC_SAC, SAC, FINAL, "Appendix A, Table 5"),
)
