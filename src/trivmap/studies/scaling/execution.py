"""The runs of a study on a Dask cluster: one of its own on this machine, or any other."""

import contextlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dask import config as dask_config
from distributed import Client, Future, LocalCluster

from trivmap.ahead import processors
from trivmap.errors import InputError
from trivmap.runs.progress import Interruption
from trivmap.store.environment import package_version
from trivmap.store.files import write_bytes
from trivmap.store.plain import open_plain
from trivmap.studies.scaling.card import StudyCard
from trivmap.studies.scaling.directory import StudyDirectory

_PATIENCE = 10
"""Seconds until a scheduler counts as silent."""
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM)
_LOST_WORKERS = 100
"""As often a run is begun again because its worker died: that is no failure of the run."""


class RunFailed(Exception):
    """A run ended with an error; the text is its reason."""


def execute(root: str, name: str, version: str | None, *after: Any) -> str:
    """Bring a run of the study in `root` to its end in a process of its own.

    What a Dask worker calls; `after` are the results of the runs it depends on. Complete runs are left alone.
    """
    if package_version("trivmap") != version:
        raise RunFailed(f"this worker has trivmap {package_version('trivmap')}, the study was begun with {version}")
    directory = StudyDirectory.open(root)
    if directory.done(name) is not None:
        return name
    before, log = directory.failed(name), directory.runs_path / f".{name}.log"
    write_bytes(log, b"")
    with os.fdopen(open_plain(log, os.O_WRONLY | os.O_APPEND), "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "trivmap", "study", "--resume", root, "--run", name, "--while-parent-lives"],
            # Its other end closes with this process, however that ends: the run then stops at a safe point.
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # What a terminal sends to the command is the command's own affair.
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if directory.done(name) is not None:
        return name
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("trivmap: ") if lines else "no message"
    reason = f"{reason} (exit code {process.returncode}; see {log})"
    if directory.failed(name) == before and process.returncode not in _INTERRUPTED:
        # It ended without a word: killed for its memory, say.
        directory.note_failure(name, reason)
    raise RunFailed(reason)


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
            # Its metrics are served all the same; on any port, as the usual one may be that of another study.
            settings["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
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
    # A function that every worker has: nothing of ours could be imported where the package is missing.
    answers: Any = client.run(importlib.metadata.version, "trivmap", on_error="return")
    for worker, found in answers.items():
        if found != own:
            what = f"trivmap {found}" if isinstance(found, str) else "no trivmap"
            raise InputError(f"worker {worker} has {what}, this is trivmap {own}; install the same version everywhere")


def run_all(
    directory: StudyDirectory,
    client: Client,
    *,
    resources: Mapping[str, float] | None = None,
    watching: Callable[[], None] = lambda: None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, str]:
    """Every run of the study that is not complete; returns the reasons of those that failed.

    Runs that start from another one wait for it. One that fails is tried again as often as the card says. `watching`
    is called about twice a second, `note` once if no worker can take a run. Raises `InputError` where the scheduler
    goes away, and `Interrupted` after a signal; both leave the runs where they can be taken up again.
    """
    card = directory.card()
    futures = _submitted(directory, card, client, resources)
    way_on = f"go on with trivmap study --resume {directory.root}"
    if not _able(client, resources):
        wanted = "".join(f" with {name}={number:g}" for name, number in (resources or {}).items())
        note(f"no worker{wanted} is there yet; the runs wait for one")
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


def _able(client: Client, resources: Mapping[str, float] | None) -> bool:
    """Whether a worker has what a run takes."""
    workers: Any = client.scheduler_info(n_workers=-1)["workers"].values()
    needed = dict(resources or {})
    return any(all(worker["resources"].get(key, 0) >= needed[key] for key in needed) for worker in workers)


def _submitted(
    directory: StudyDirectory, card: StudyCard, client: Client, resources: Mapping[str, float] | None
) -> dict[str, Future]:
    futures: dict[str, Future] = {}
    root, version, stamp = str(directory.root.resolve()), package_version("trivmap"), time.time_ns()
    # Seed after seed: runs that differ by it alone find the programs that an earlier one compiled.
    for place, (name, run) in enumerate(sorted(card.runs.items(), key=lambda item: item[1].seed)):
        if directory.done(name) is not None:
            continue
        after = [futures[run.after]] if run.after in futures else []
        futures[name] = client.submit(
            execute,
            root,
            name,
            version,
            *after,
            # A key of its own: the scheduler might remember that of an earlier command.
            key=f"{name}-{stamp}",
            retries=card.retries,
            priority=-place,
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
