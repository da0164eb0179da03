"""Every example in the docs runs as printed, page by page."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

SHOWN = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def cells(line):
    """The first cells of a line; how many inputs are dead depends on rounding."""
    return line.split()[:3]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page, capsys):
    examples = EXAMPLE.findall(page.read_text())
    variables = {}
    with jax.numpy_rank_promotion("allow"):
        for example in examples:
            exec(compile(example, str(page), "exec"), variables)
    shown = [cells(line) for line in page.read_text().splitlines()]
    printed = [cells(line) for line in capsys.readouterr().out.splitlines()]
    for line in printed:
        assert line in shown  # The page shows what its examples print.
    if page.stem == "index":
        (table,) = SHOWN.findall(page.read_text())
        assert printed == [cells(line) for line in table.splitlines()]


def test_the_examples_of_the_library_in_the_readme_run():
    """Only the examples without a run directory or an environment."""
    examples = EXAMPLE.findall((ROOT / "README.md").read_text())
    ours = [example for example in examples if "from dsrl_jax import sparse" in example]
    assert len(ours) == 2
    with jax.numpy_rank_promotion("allow"):
        for example in ours:
            exec(compile(example, "README.md", "exec"), {})


def test_there_are_examples():
    with_examples = [page.stem for page in PAGES if EXAMPLE.search(page.read_text())]
    assert {"index", "method", "own_loop", "agents"} <= set(with_examples)
