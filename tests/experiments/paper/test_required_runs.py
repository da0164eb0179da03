"""The runs of the paper's figures: their number, and the paper's settings."""

import pytest

from dsrl_jax.agents.costs import expected_cost
from dsrl_jax.agents.types import Spaces
from experiments.paper.figures import FIGURES, GROUPS, POLICY_SEED, SEEDS
from experiments.paper.required_runs import Selection, required_runs, select_figures
from experiments.paper.tasks import Machine, match_runs, missing_tasks

HALF_CHEETAH = Spaces(17, (-1.0,) * 6, (1.0,) * 6)


@pytest.mark.parametrize(
    ("figure", "runs"),
    [
        ("fig1", 4 * 5 * 5),  # methods, tasks, seeds
        ("costs", 0),
        ("fig2a", 5 * 5),
        ("fig2b", 4 * 5),
        ("fig3a", 2 * 5),
        ("fig3b", 2 * 5),
        ("fig4", 2 * 5 * 5),
    ],
)
def test_a_figure_has_the_papers_runs_and_length(figure, runs):
    required = required_runs([figure], Selection())
    assert len(required) == len({repr(run.experiment) for run in required}) == runs
    assert {run.experiment.loop.steps for run in required} <= {1_000_000}
    assert {run.experiment.loop.eval_period for run in required} <= {5_000}


def test_a_run_that_figures_share_is_computed_once(tmp_path):
    def computed(*names):
        required = required_runs(select_figures(names), Selection(seeds=(3,)))
        return len(missing_tasks(match_runs(required, []), [], Machine(tmp_path)))

    # e = 1000 and 50 % are Figure 1's DS-TD3, e = none and 0 % its TD3.
    assert computed("fig2a") == 5 and computed("fig2b") == 4
    assert computed("fig1", "fig2a") == 20 + 3
    # And a policy for each method and length.
    assert computed("fig3a") == 2 + 2 and computed("fig3") == 4 + 4
    assert computed("all") == 20 + 3 + 2 + 8 + 10


def test_groups_name_figures_and_each_once():
    assert select_figures(["table1", "fig1", "table2"]) == ("fig1",)
    assert select_figures(["fig2", "fig3"]) == ("fig2a", "fig2b", "fig3a", "fig3b")
    assert set(GROUPS["all"]) == set(FIGURES)


@pytest.mark.parametrize(
    ("index", "sparsity", "connections"),
    [(0, 0.0, 214_784), (1, 0.25, 161_138), (2, 0.5, 106_169), (3, 0.8, 42_740)],
)
def test_figure_2b_is_as_sparse_as_it_says(index, sparsity, connections):
    variant = FIGURES["fig2b"].variants[index]
    run = next(
        run for run in required_runs(["fig2b"], Selection(seeds=(0,))) if run.variant == variant
    )
    cost = expected_cost(HALF_CHEETAH, run.experiment.agent, 1)
    assert cost.sparsity == pytest.approx(sparsity, abs=0.006)
    assert round(cost.connections) == connections


def test_figure_2a_varies_only_the_schedule():
    agents = {
        run.experiment.agent for run in required_runs(["fig2a"], Selection(algos=("ds_td3",)))
    }
    periods = sorted(agent.sparse.adaptation_period for agent in agents)
    assert periods == [200, 500, 1000, 2000]
    assert len({agent.sparse.lambda1 for agent in agents}) == 1


@pytest.mark.parametrize(("figure", "share"), [("fig3a", 0.5), ("fig3b", 0.7)])
@pytest.mark.parametrize("steps", [1_000_000, 3_000])
def test_figure_3_starts_from_policies_of_the_same_method(figure, share, steps):
    for run in required_runs([figure], Selection(settings={"steps": steps})):
        assert run.policy.algo == run.experiment.algo == run.experiment.initial_policy.algo
        assert run.policy.loop.steps == run.experiment.initial_policy.env_step == share * steps
        assert run.policy.seeds == (POLICY_SEED,) and POLICY_SEED not in SEEDS
        assert run.experiment.loop.start_steps == 25_000


def test_sac_is_the_sections_in_figure_1_and_the_appendixs_in_figure_4():
    def targets(figure):
        agents = [
            run.experiment.agent for run in required_runs([figure], Selection(algos=("sac",)))
        ]
        return {(agent.tau, agent.target_period) for agent in agents}

    assert targets("fig1") == {(0.005, 1)}
    assert targets("fig4") == {(1.0, 1000)}


def test_a_selection_makes_figures_smaller():
    selection = Selection(
        tasks=("hopper", "ant"), algos=("td3",), seeds=(3,), settings={"eval_period": 7}
    )
    runs = required_runs(["fig1"], selection)
    assert [run.experiment.env for run in runs] == ["Hopper-v5", "Ant-v5"]
    assert {run.experiment.loop.eval_period for run in runs} == {7}
    # A task's seeds come after each other, methods side by side.
    both = required_runs(["fig1"], Selection(tasks=("ant",), algos=("td3", "ds_td3"), seeds=(0, 1)))
    assert [(run.experiment.seeds, run.experiment.algo) for run in both] == [
        ((0,), "td3"),
        ((0,), "ds_td3"),
        ((1,), "td3"),
        ((1,), "ds_td3"),
    ]


@pytest.mark.parametrize(
    ("figures", "selection", "message"),
    [
        (["fig5"], {}, "a figure must be one of fig1, costs, .* got 'fig5'; did you mean"),
        (["fig1"], {"tasks": ("reacher",)}, "--envs must be one of .* got 'reacher'"),
        (["fig1"], {"algos": ("td4",)}, "--algos must be one of .* got 'td4'; did you mean td3"),
        (
            ["fig2a"],
            {"tasks": ("ant",)},
            "--envs and --algos leave no run: fig2a has ds_td3, td3 on half",
        ),
        (
            ["fig4"],
            {"algos": ("td3",)},
            "--envs and --algos leave no run: fig4 has sac, ds_sac on half",
        ),
        (["fig1"], {"settings": {"steps": 0}}, "steps must be at least 1, got 0"),
        (["fig1"], {"env_preset": "v4"}, "env_preset"),
    ],
)
def test_unknown_names_bad_settings_and_empty_selections_raise_errors(figures, selection, message):
    with pytest.raises(ValueError, match=message):
        required_runs(select_figures(figures), Selection(**selection))
