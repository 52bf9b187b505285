"""The runs of a study on a Dask cluster: one of its own on this machine, or any other."""

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dask import config as dask_config
from distributed import Client, Future, LocalCluster

from trivmap.ahead import processors
from trivmap.errors import InputError
from trivmap.runs.environment import package_version
from trivmap.runs.progress import Interruption
from trivmap.studies.scaling.card import StudyCard
from trivmap.studies.scaling.directory import StudyDirectory

_PATIENCE = 10
"""Seconds until a scheduler counts as silent."""
_LOST_WORKERS = 100
"""As often a run is begun again because its worker died: that is no failure of the run."""


class RunFailed(Exception):
    """A run ended with an error; the text is its reason."""


def execute(root: str, name: str, threads: int | None, version: str | None, *after: Any) -> str:
    """Bring a run of the study in `root` to its end in a process of its own, pinned to `threads` processors.

    What a Dask worker calls; `after` are the results of the runs it depends on. Complete runs are left alone.
    """
    if package_version("trivmap") != version:
        raise RunFailed(f"this worker has trivmap {package_version('trivmap')}, the study was begun with {version}")
    directory = StudyDirectory.open(root)
    if directory.done(name) is not None:
        return name
    with _free_processors(threads) as chosen:
        log = directory.runs_path / f".{name}.log"
        with log.open("wb") as output:
            # Its end of the pipe closes with this process, however that ends: the run then stops at a safe point.
            process = subprocess.Popen(
                [sys.executable, "-m", "trivmap", "study", "--resume", root, "--run", name, "--while-parent-lives"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **({"TRIVMAP_PROCESSORS": ",".join(map(str, chosen))} if chosen else {})},
            )
            try:
                while process.poll() is None:
                    time.sleep(0.2)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
    if directory.done(name) is None:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1].removeprefix("trivmap: ") if lines else "no message"
        raise RunFailed(f"{reason} (exit code {process.returncode}; see {log})")
    return name


@contextlib.contextmanager
def _free_processors(threads: int | None) -> Iterator[list[int]]:
    """So many processors that no other run on this machine was given; none in particular where all are taken."""
    if threads is None or not hasattr(os, "sched_getaffinity"):
        yield []
        return
    folder = Path(tempfile.gettempdir()) / f"trivmap-processors-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    held: dict[int, int] = {}
    try:
        for number in sorted(os.sched_getaffinity(0)):
            descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            held[number] = descriptor
            if len(held) == threads:
                break
        yield sorted(held) if len(held) == threads else []
    finally:
        for descriptor in held.values():
            os.close(descriptor)


@contextlib.contextmanager
def cluster(scheduler: str | None, workers: int | None, threads: int | None) -> Iterator[Client]:
    """A client of the scheduler at an address or in a scheduler file; None makes a cluster on this machine.

    The latter has as many `workers` as runs of `threads` threads fit its processors. Raises `InputError` where no
    scheduler answers, or a worker has another version of this package.
    """
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(dask_config.set({"distributed.scheduler.allowed-failures": _LOST_WORKERS}))
            count = workers or max(1, processors() // (threads or processors()))
            # No dashboard; runs are processes of their own, which the workers' limits of memory would not meet.
            settings: dict[str, Any] = {"dashboard_address": None, "memory_limit": 0, "silence_logs": 50}
            local = LocalCluster(n_workers=count, threads_per_worker=1, **settings)
            client = Client(stack.enter_context(local))
        else:
            from_file = Path(scheduler).is_file()
            try:
                client = (
                    Client(scheduler_file=scheduler, timeout=_PATIENCE)
                    if from_file
                    else Client(scheduler, timeout=_PATIENCE)
                )
            except (OSError, ValueError, TimeoutError) as error:
                raise InputError(
                    f"--scheduler {scheduler}: no scheduler answers there within {_PATIENCE} s; start one with "
                    "dask scheduler, or leave it out for a cluster on this machine"
                ) from error
        stack.enter_context(client)
        _require_same_version(client)
        yield client


def _require_same_version(client: Client) -> None:
    own = package_version("trivmap")
    answers: Any = client.run(_version)
    for worker, found in answers.items():
        if found != own:
            raise InputError(
                f"worker {worker} has {f'trivmap {found}' if found else 'no trivmap'}, this is trivmap {own}; install "
                "the same version everywhere"
            )


def _version() -> str | None:
    import importlib.metadata

    # Where the package is missing the import of anything of ours would fail.
    try:
        return importlib.metadata.version("trivmap")
    except importlib.metadata.PackageNotFoundError:
        return None


def run_all(
    directory: StudyDirectory,
    client: Client,
    *,
    resources: Mapping[str, float] | None = None,
    watching: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Every run of the study that is not complete; returns the reasons of those that failed.

    Runs that start from another one wait for it. One that fails is tried again as often as the card says. `watching`
    is called about twice a second. Raises `InputError` where the scheduler goes away, and `Interrupted` after a
    signal; both leave the runs where they can be taken up again.
    """
    card = directory.card()
    futures = _submitted(directory, card, client, resources)
    way_on = f"go on with trivmap study --resume {directory.root}"
    with Interruption.catching() as interruption:
        try:
            while any(future.status == "pending" for future in futures.values()):
                watching()
                interruption.check(f"interrupted; {way_on}")
                if client.status not in ("running", "connecting"):
                    raise InputError(f"{directory.root}: the scheduler has gone away; {way_on}")
                time.sleep(0.5)
        except BaseException:
            with contextlib.suppress(Exception):
                client.cancel(list(futures.values()), force=True)
            raise
    watching()
    if any(future.status in ("cancelled", "lost") for future in futures.values()):
        raise InputError(f"{directory.root}: the scheduler has lost runs; {way_on}")
    return {
        name: _reason(directory, card, name, future) for name, future in futures.items() if future.status == "error"
    }


def _submitted(
    directory: StudyDirectory, card: StudyCard, client: Client, resources: Mapping[str, float] | None
) -> dict[str, Future]:
    futures: dict[str, Future] = {}
    root, version, stamp = str(directory.root.resolve()), package_version("trivmap"), time.time_ns()
    for name, run in card.runs.items():
        if directory.done(name) is not None:
            continue
        after = [futures[run.after]] if run.after in futures else []
        futures[name] = client.submit(
            execute,
            root,
            name,
            run.card.threads,
            version,
            *after,
            # A key of its own: the scheduler might remember that of an earlier command.
            key=f"{name}-{stamp}",
            retries=card.retries,
            resources=dict(resources) if resources else None,
            pure=False,
        )
    return futures


def _reason(directory: StudyDirectory, card: StudyCard, name: str, future: Future) -> str:
    before = card.runs[name].after
    if before is not None and directory.done(before) is None:
        return f"it starts from {before}, which failed"
    noted = directory.failed(name)
    return noted["reason"] if noted else str(future.exception())
