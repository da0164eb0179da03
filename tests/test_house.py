"""Checks the size of files and functions (CONTRIBUTING.md, "Style, by example")."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for folder in ("dsrl_jax", "experiments", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
LONGEST_FUNCTION = 40  # lines without the docstring
LONGEST_FILE = 300


def length(function):
    lines = function.end_lineno - function.lineno + 1
    docstring = ast.get_docstring(function, clean=False)
    return lines - (docstring.count("\n") + 1 if docstring else 0)


def test_files_and_functions_fit_a_screen():
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    too_long = {}
    for path in FILES:
        text = path.read_text()
        sizes = {"the file": text.count("\n") - LONGEST_FILE}
        sizes |= {
            node.name: length(node) - LONGEST_FUNCTION
            for node in ast.walk(ast.parse(text))
            if isinstance(node, functions)
        }
        over = {name: lines for name, lines in sizes.items() if lines > 0}
        if over:
            too_long[str(path.relative_to(ROOT))] = over
    assert too_long == {}
