"""Trains an agent: `python -m experiments.run --env=halfcheetah --algo=ds_td3`.

Settings are checked before JAX is imported, so that a mistake is told at once.
"""

import os
import subprocess
import sys
from pathlib import Path

from absl import flags

from dsrl_jax.presets import resolve
from experiments.flags import UsageError, given_settings, make_flags, parse, parse_seeds
from experiments.run_directory import (
    DirectoryError,
    RunDirectory,
    check_directory,
    default_directory,
    describe,
    library_versions,
)


def main(arguments: list[str]) -> int:
    """Runs a command line; returns the exit status: 2 for one that cannot be run."""
    values = make_flags()
    try:
        parse(values, arguments)
        if values.help:
            print(__doc__ + values.main_module_help())
            return 0
        return run(values)
    except (UsageError, DirectoryError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(values: flags.FlagValues) -> int:
    """Resolves and checks what was asked for, then trains."""
    from dsrl_jax.envs import gymnasium as environments

    env_id = environments.resolve_id(values.env)
    experiment = resolve(
        env_id,
        values.algo,
        preset=values.preset,
        seeds=parse_seeds(values),
        settings=given_settings(values),
    )
    sizes = environments.read_sizes(env_id, environments.make(env_id))
    directory = Path(values.run_dir) if values.run_dir else default_directory(experiment)
    continued = check_directory(directory, experiment)
    choose_device(values.device, int(values.threads) if values.threads else None)
    keep_freed_memory()
    return train(experiment, sizes, directory, continued)


def train(experiment, sizes, directory, continued) -> int:
    from dsrl_jax.training import train as training

    config = {
        **describe(experiment),
        **sizes._asdict(),
        "versions": library_versions(),
        "commit": commit(),
        "command": " ".join(sys.argv[1:]),
    }
    rows = RunDirectory(directory, config)
    for row in training.run(experiment, directory):
        rows.write(row)
        if row["kind"] == "evaluation":
            print(row["seed"], row["env_step"], row["return_mean"], flush=True)
    rows.close()
    return 0


def choose_device(device: str, threads: int | None) -> None:
    """Sets what JAX reads once, when it is imported."""
    os.environ["JAX_PLATFORMS"] = device
    if threads:
        os.environ["PJRT_NPROC"] = str(threads)
        if threads == 1:
            os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"


def keep_freed_memory() -> None:
    """Lets the allocator keep what an update frees: asking the kernel for it again, zeroed, took
    a third of an update's time."""
    import ctypes

    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)
        libc.mallopt(-1, (1 << 31) - 1)
    except OSError:
        pass


def commit() -> str:
    """The checkout's commit, with a + where files differ from it; empty outside a checkout."""
    root = Path(__file__).parent
    show = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    return show.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
