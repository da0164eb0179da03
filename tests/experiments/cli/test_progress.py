"""The progress lines of a run outside a terminal."""

import pytest

from dsrl_jax.config.loop import LoopConfig
from experiments.cli.progress import Progress

EVALUATION = {"kind": "evaluation", "env_step": 5, "return_mean": 1.5}
TRAINING = {"kind": "training", "env_step": 5, "actor_connections": 3, "critics_connections": 2}


def test_the_rate_counts_from_the_line_before(monkeypatch, capsys):
    """100 random steps take a second, then 10 take two: 90 more will take 18 seconds."""
    clock = iter([0.0, 1.0, 3.0])
    monkeypatch.setattr("experiments.cli.progress.time.perf_counter", lambda: next(clock))
    progress = Progress(LoopConfig(steps=200, start_steps=100), members=1, dense_weights=10)
    progress.show({"kind": "start", "env_step": 0})
    for step in (100, 110):
        progress.show(EVALUATION | {"env_step": step})
    *_, line = capsys.readouterr().err.splitlines()
    assert "110 of 200, 5 steps/s, 0.3 minutes left" in line


def test_steps_without_updates_predict_no_remaining_time(capsys):
    """Nor does an interval that begins without updates."""
    progress = Progress(LoopConfig(steps=200, start_steps=100), members=1, dense_weights=10)
    progress.show({"kind": "start", "env_step": 0})
    for step in (0, 60, 120, 180):
        progress.show(EVALUATION | {"env_step": step})
    shown = ["minutes left" in line for line in capsys.readouterr().err.splitlines()]
    assert shown == [False, False, False, True]


@pytest.mark.parametrize("begins", [0, 4])
def test_a_line_has_one_order_whether_a_run_begins_or_continues(begins, capsys):
    progress = Progress(LoopConfig(steps=10, start_steps=0), members=1, dense_weights=10)
    progress.show({"kind": "start", "env_step": begins})
    if begins == 0:
        progress.show(EVALUATION | {"env_step": 0})
    for row in (TRAINING, EVALUATION):
        progress.show(row)
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("step         5 of 10, ")
    assert line.endswith("minutes left, return 1.5, density 0.500")
