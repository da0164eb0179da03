"""Checks which way imports run, and which modules start without JAX (CONTRIBUTING.md)."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("dsrl_jax", "experiments")

# The layers and what of ours each may import, apart from itself. The layer of a module is the
# longest prefix of its name here.
MAY_IMPORT = {
    "dsrl_jax": [],  # imports lazily, by name
    "dsrl_jax.config": [],
    "dsrl_jax.sparse": [],
    "dsrl_jax.agents": ["dsrl_jax.sparse", "dsrl_jax.config"],
    "dsrl_jax.envs": ["dsrl_jax.config"],
    "dsrl_jax.training": [
        "dsrl_jax.sparse",
        "dsrl_jax.agents",
        "dsrl_jax.envs",
        "dsrl_jax.config",
    ],
    "dsrl_jax.export": ["dsrl_jax.training", "dsrl_jax.config"],
    "dsrl_jax.policy": [],
    "experiments": ["dsrl_jax"],
}
# Libraries that `sparse` may import.
SPARSE_NEEDS = {"chex", "jax", "jaxtyping", "numpy", "optax"}
ENVIRONMENT_LIBRARIES = {"gymnasium", "brax", "mujoco", "envpool"}
# No module of this folder imports JAX. A command imports it only after it has checked its flags.
CONFIG = "dsrl_jax.config"
COMMANDS = [
    "dsrl_jax",
    "dsrl_jax.export",
    "dsrl_jax.policy",
    "experiments.bench",
    "experiments.evaluate",
    "experiments.cli.flags",
    "experiments.paper.command",
    "experiments.paper.figures",
    "experiments.report.command",
    "experiments.run",
    "experiments.sweep.command",
]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for name in OURS for path in (ROOT / name).rglob("*.py")}


@functools.cache
def imports(path):
    """Returns every name that a file imports, also in functions; `from a import b` as "a.b"."""
    return frozenset(_imports(path))


def _imports(path):
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def is_in(name, package):
    return name == package or name.startswith(package + ".")


def layer_of(module):
    return max((layer for layer in MAY_IMPORT if is_in(module, layer)), key=len)


def test_there_are_modules_in_every_layer():
    assert {layer_of(module) for module in MODULES} == set(MAY_IMPORT)


def test_imports_run_downwards():
    climbs = []
    for module, path in MODULES.items():
        layer = layer_of(module)
        allowed = [*MAY_IMPORT[layer], *([] if layer == "dsrl_jax" else [layer])]
        climbs += [
            (module, name)
            for name in imports(path)
            if any(is_in(name, ours) for ours in OURS)
            and not any(is_in(name, package) for package in allowed)
        ]
    assert climbs == []


def test_no_imports_run_in_a_circle():
    """Imports inside functions count too."""
    graph = {
        module: {
            max((m for m in MODULES if is_in(name, m)), key=len)
            for name in imports(path)
            if name.split(".")[0] in OURS
        }
        - {module}
        for module, path in MODULES.items()
    }
    while leaves := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in leaves}
    while graph:  # Removes modules that only lead into a circle.
        needed = set().union(*graph.values())
        if graph.keys() <= needed:
            break
        graph = {module: needs for module, needs in graph.items() if module in needed}
    assert sorted(graph) == []


def libraries(package):
    """Returns the libraries that a package imports, except the standard library."""
    names = {
        name for module in MODULES if is_in(module, package) for name in imports(MODULES[module])
    }
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)


def test_sparse_needs_jax_numpy_optax_and_chex_only():
    assert libraries("dsrl_jax.sparse") <= SPARSE_NEEDS | {"dsrl_jax"}


def test_agents_import_no_environment_and_no_command_line():
    assert not libraries("dsrl_jax.agents") & (ENVIRONMENT_LIBRARIES | {"absl"})


def test_an_exported_policy_needs_numpy_only():
    assert libraries("dsrl_jax.policy") == {"numpy"}


def test_config_needs_the_standard_library_only():
    assert libraries(CONFIG) == {"dsrl_jax"}


# One process checks all of it, as starting Python and importing JAX take most of the time.
LIGHT_PROGRAM = """
import sys
import {modules}
assert "jax" not in sys.modules, "a module imports JAX"


def block(*libraries):
    # From now on an import of these raises an error; ours are imported again.
    for name in list(sys.modules):
        if name.split(".")[0] in (*libraries, "dsrl_jax", "experiments"):
            del sys.modules[name]
    sys.modules.update(dict.fromkeys(libraries))


block("flax", *{environments})
import jax, dsrl_jax
masks = dsrl_jax.sparse.draw_masks(jax.random.key(0), jax.numpy.ones((8, 8)), 0.5)
assert 0 < masks.sum() < 64

del sys.modules["flax"]
block(*{environments})
import dsrl_jax
for call in (dsrl_jax.load_policy, lambda run: dsrl_jax.export_policy(run, "a.npz")):
    try:
        call("nowhere")
    except ValueError as error:
        assert "nowhere is no run directory" in str(error)
    else:
        raise AssertionError("it found a run")
"""


def test_what_works_without_jax_flax_and_environments():
    """Commands check their flags without JAX; the method needs no Flax, a policy no environment."""
    modules = [*(name for name in MODULES if is_in(name, CONFIG)), *COMMANDS]
    program = LIGHT_PROGRAM.format(
        modules=", ".join(modules), environments=sorted(ENVIRONMENT_LIBRARIES)
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
