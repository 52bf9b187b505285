"""The environment of a run: versions, devices, threads, the state of the source."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from trivmap.devices import device_count
from trivmap.processes import process_count

_PACKAGES = ("trivmap", "jax", "jaxlib", "equinox", "optax", "orbax-checkpoint", "numpy", "scipy", "h5py", "pyerrors")


def describe_environment(seed: int, threads: int | None) -> dict[str, Any]:
    """The content of `environment.json`. Starts JAX's backend, so set the platform and threads before."""
    devices = jax.devices()
    return describe_software() | {
        "threads": threads,
        "devices": [{"platform": device.platform, "kind": device.device_kind} for device in devices],
        "processes": process_count(),
        "x64": jnp.result_type(float) == jnp.float64,
        "seed": seed,
    }


def describe_software() -> dict[str, Any]:
    """Versions, the machine and the state of the source: the facts that do not need JAX's backend."""
    return {
        "versions": {"python": platform.python_version(), **{name: package_version(name) for name in _PACKAGES}},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "git": {"trivmap": _git(Path(__file__).parent), "working_directory": _git(Path.cwd())},
    }


def generator(key: jax.Array) -> str:
    """The generator of random numbers: a key gives the same numbers only with the same generator."""
    name = str(jax.random.key_impl(key))
    # The only other setting of JAX that changes the numbers of a key.
    return name if getattr(jax.config, "jax_threefry_partitionable", True) else f"{name}, not partitionable"


def workforce() -> dict[str, int]:
    """The devices and processes that work on a run at this moment."""
    return {"devices": device_count(), "processes": process_count()}


def package_version(package: str) -> str | None:
    """The version of an installed package; None if it runs from a source tree."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that tracks the folder, and whether it is clean; None without a repository or git."""

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        # An installed package may lie in a repository that ignores it; that commit would be meaningless.
        if not ask("ls-files", "--", "."):
            return None
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
