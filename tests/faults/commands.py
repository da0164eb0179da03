"""Random command lines, from values that settings take and values that none takes."""

import os
import random
import subprocess
import sys

from hypothesis import strategies as st

from experiments.cli.flags import make_flags
from tests.faults.processes import ROOT

TOY = "tests.toy_environments:PointMass-v0"

# Words that mean something somewhere, and what people and scripts leave behind.
WORDS = [
    *(
        "",
        "0",
        "-1",
        "1",
        "7",
        "0.5",
        "1.5",
        "-0.5",
        "1e3",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "-inf",
    ),
    *("none", "None", "true", "false", "yes", "256,256", "256,", ",", "0,0", "8,x", "0:3", "3:0"),
    *("3:3", "0:", ":", "a:b", "1_000", "١", "½", "1 2", "--", "-", "=", "..", "/", "~", "*", "%s"),
    *("paper", "official", "figure1", "ds_td3", "sac", "ds_sac", "td4", "v3", "v5", "v99", "cpu"),
    *("gymnasium", "envpool", "balanced", "per_sign", "erk", "uniform", "input", "input,hidden"),
    *(
        "halfcheetah",
        TOY,
        "tests.toy_environments:Image-v0",
        "no.such:Id-v0",
        "os:Id-v0",
        ":",
        "a:",
    ),
    *("HalfCheetah-v5", "CartPole-v1", "GymV21Environment-v0", "\t", "\n", "x" * 5000, "é", "💥"),
]
NAMES = sorted(set(make_flags()) - {"run_dir", "dry_run", "help", "h", "device"})
NEAR = [
    "step",
    "seeed",
    "lambda",
    "no",
    "nosteps",
    "dry_runs",
    "flagfile",
    "undefok",
    "",
    "-",
    "--x",
]

values = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    # No process can be given a NUL, nor half of a character.
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NEAR))
flags = st.one_of(
    st.builds("--{}={}".format, names, values),
    st.builds("--{}={}".format, names, values),
    st.builds("--{}".format, names),
    values,
)
# Of several settings of one name the last one counts: the toy comes first.
command_lines = st.lists(flags, min_size=1, max_size=4).map(lambda given: [f"--env={TOY}", *given])

# One of each kind of mistake, as real commands.
REAL = [
    ["--env=halfcheeta"],
    ["--env=no_such_module:Id-v0"],
    ["--env=CartPole-v1"],
    ["--algo=ds_td4"],
    ["--preset=offical"],
    ["--step=5"],
    ["stray"],
    ["--lambda1=-3"],
    ["--tau=nan"],
    ["--steps=many"],
    ["--steps=1e400"],
    ["--batch_size=0"],
    ["--hidden_sizes=256,big"],
    ["--seeds=3:3"],
    ["--seeds=0:1000000000000"],
    ["--threads=0"],
    ["--device=abacus"],
    ["--device=tpu"],
    ["--flagfile=/no/such/file"],
    ["--sparsity=0.995"],
    ["--run_dir=/dev/null/run"],
    ["--backend=envpol"],
]


def run_wrong_commands(place, seed):
    """Runs wrong commands; returns those that did not end in one line, and the others' number."""
    place.mkdir(parents=True)
    bad = []
    for arguments in random.Random(seed).sample(REAL, len(REAL)):
        end = subprocess.run(
            [sys.executable, "-m", "experiments.run", *arguments],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        is_one_line = end.stderr.startswith("error: ") and end.stderr.count("\n") == 1
        if end.returncode != 2 or not is_one_line or list(place.iterdir()):
            bad.append((arguments, f"status {end.returncode}, {end.stderr.strip()[-300:]}"))
    return bad, len(REAL) - len(bad)
