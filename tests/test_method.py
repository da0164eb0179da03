"""Checks that every line of the paper's algorithms has its label, and docs/method.md's table."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LABEL = re.compile(r"Algorithm (\d), lines? (\d+)(?:-(\d+))?")
LINES = {1: 29, 2: 8, 3: 3, 4: 24}  # of each algorithm
# Replay, environment steps and batches; the other lines are in the method and the agents.
TRAINING_LOOP = {1: {5, 6, 9, 10, 29}, 4: {5, 6, 7, 9, 10, 11, 12, 23, 24}}
# Each back-end has these, and the loop that they share has the others.
BACKENDS = {
    "host": ["training/loop.py", "training/host/backend.py"],
    "device": ["training/loop.py", "training/device"],
}


def labels(*places):
    """Returns the lines of each algorithm that a comment in these folders or files labels."""
    found = {algorithm: set() for algorithm in LINES}
    for place in places:
        root = ROOT / "dsrl_jax" / place
        for path in [root] if root.is_file() else root.rglob("*.py"):
            for comment in re.findall(r"#\s.*", path.read_text()):
                for algorithm, first, last in LABEL.findall(comment):
                    lines = range(int(first), int(last or first) + 1)
                    found[int(algorithm)].update(lines)
    return found


@pytest.mark.parametrize("algorithm", LINES)
def test_every_line_of_an_algorithm_is_labelled_in_the_method_and_the_agents(algorithm):
    every = set(range(1, LINES[algorithm] + 1)) - TRAINING_LOOP.get(algorithm, set())
    assert every - labels("sparse", "agents")[algorithm] == set()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", TRAINING_LOOP)
def test_the_training_loop_labels_its_lines_on_both_backends(algorithm, backend):
    assert TRAINING_LOOP[algorithm] - labels(*BACKENDS[backend])[algorithm] == set()


def test_no_label_names_a_line_that_does_not_exist():
    for algorithm, lines in labels("sparse", "agents", "training").items():
        assert lines <= set(range(1, LINES[algorithm] + 1))


def test_the_functions_that_the_method_names_exist():
    text = (ROOT / "docs" / "method.md").read_text()
    named = re.findall(r"\| `(\w+)` \| `(dsrl_jax/[\w/]+\.py)` \|", text)
    assert len(named) >= 15
    for function, file in named:
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
