"""Chooses and describes what a process runs on: device, threads, allocator, compiled programs."""

import contextlib
import ctypes
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.cli.values import UsageError

# JAX's platforms by device. JAX's own "gpu" means the platforms of all vendors, and fails if one is
# missing.
PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}
LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "gymnasium",
    "mujoco",
    "envpool",
    "orbax-checkpoint",
)
# Libraries that only one backend uses; other runs do not record them.
OF_BACKEND = {"brax": ("brax", "mujoco-mjx")}

# Seconds of compilation; below them, loading a program is not faster.
KEPT_FROM = 0.2

# glibc's malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def choose_device(device: str, threads: int | None, deterministic: bool = False) -> None:
    """Sets the environment variables that JAX reads when it is imported.

    Raises:
      UsageError: for an unknown device or fewer than 1 thread.
    """
    if device not in PLATFORMS:
        raise UsageError(f"--device must be one of {', '.join(PLATFORMS)}, got {device!r}")
    os.environ["JAX_PLATFORMS"] = PLATFORMS[device]
    if deterministic:
        _add_xla_flag("--xla_gpu_deterministic_ops=true")
    if threads is None:
        return
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, got {threads}")
    os.environ["PJRT_NPROC"] = str(threads)
    if threads == 1:
        _add_xla_flag("--xla_cpu_multi_thread_eigen=false")


def _add_xla_flag(flag: str) -> None:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


def check_device(device: str) -> None:
    """Imports JAX and checks that it finds the device.

    Raises:
      UsageError: if it does not.
    """
    import jax

    try:
        found = jax.default_backend()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device={device} is not available here: {reason}") from error
    if found != device:  # JAX falls back to the CPU silently.
        raise UsageError(f"--device={device} is not available here: JAX finds only a {found}")


def keep_freed_memory() -> None:
    """Makes the allocator keep the memory that an update frees, on Linux.

    Requesting the same pages from the kernel again, zeroed, took a third of an update's time.
    """
    if sys.platform.startswith("linux"):
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:  # Another C library: training is slower.
            return
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def keep_compiled_programs() -> None:
    """Caches compiled programs, so that later starts take less than half of the time.

    The cache is in the user's cache directory, or in JAX_COMPILATION_CACHE_DIR; nothing is cached
    if that cannot be written. JAX distinguishes programs by processor, libraries and flags, but not
    by the number of threads among which XLA splits their loops, so each number has a directory.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    threads = os.environ.get("PJRT_NPROC") or os.environ.get("NPROC") or cores()
    try:
        named = Path(os.environ.get("XDG_CACHE_HOME", ""))
        caches = named if named.is_absolute() else Path.home() / ".cache"
        directory = caches / "dsrl_jax" / f"compiled_for_{threads}_threads"
        directory.mkdir(0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home.
        return
    if not os.access(directory, os.W_OK):
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(directory))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", KEPT_FROM)
    # XLA's caches of GPU kernels do not distinguish flags: --deterministic would use the kernels
    # that another run chose.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def library_versions(backend: str = "gymnasium") -> dict[str, str]:
    """Returns the versions of the installed libraries that a run computes with."""
    versions = {"python": sys.version.split()[0]}
    for name in (*LIBRARIES, *OF_BACKEND.get(backend, ())):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def commit() -> str:
    """Returns the checkout's commit, with a + if files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return ""
    return answer.stdout.strip()


def conditions(
    device: str,
    threads: int | None,
    deterministic: bool,
    backend: str = "gymnasium",
    devices: int = 1,
) -> dict[str, Any]:
    """Returns what a run computes on; if an entry differs, results may not be bit-identical."""
    return {
        "device": device,
        "devices": devices,
        "threads": threads,
        "deterministic": deterministic,
        "cores": cores(),
        "processor": cpu_model(),
        "versions": library_versions(backend),
        "commit": commit(),
    }


def changed_conditions(here: dict[str, Any], before: list[dict[str, Any]]) -> list[str]:
    """Returns what differs from an earlier part of a run, in a few words each."""
    found = []
    for name, value in _flat(here).items():
        earlier = {_flat(part).get(name) for part in before} - {value}
        if earlier:
            was = " and ".join(sorted(str(each) for each in earlier))
            found.append(f"{name} was {was} and is {value}")
    return found


def _flat(conditions: dict[str, Any]) -> dict[str, Any]:
    versions = conditions.get("versions", {})
    plain = ("device", "threads", "cores", "processor", "deterministic", "commit")
    own = {name: conditions.get(name) for name in plain}
    return own | {"devices": conditions.get("devices", 1)} | dict.fromkeys(LIBRARIES) | versions


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def describe_machine() -> dict[str, object]:
    """Returns what a measurement was made on. Imports JAX."""
    import jax

    device = jax.devices()[0]
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "device": f"{device.platform} {device.device_kind}",
        "versions": library_versions(),
        "commit": commit(),
    }


def cpu_model() -> str:
    """Returns the processor's name, if the system reports it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
