"""The lines of a run that no terminal shows."""

import pytest

from experiments.progress import Progress

EVALUATION = {"kind": "evaluation", "env_step": 5, "return_mean": 1.5}
TRAINING = {"kind": "training", "env_step": 5, "actor_connections": 3, "critics_connections": 2}


@pytest.mark.parametrize("begins", [0, 4])
def test_a_line_is_in_one_order_whether_a_run_begins_or_continues(begins, capsys):
    progress = Progress(steps=10, members=1, dense_weights=10)
    progress.show({"kind": "start", "env_step": begins})
    if begins == 0:
        progress.show(EVALUATION | {"env_step": 0})
    for row in (TRAINING, EVALUATION):
        progress.show(row)
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("step         5 of 10, ")
    assert line.endswith("minutes left, return 1.5, density 0.500")
