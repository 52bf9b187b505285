"""The runs of a study on a Dask cluster."""

import contextlib
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distributed import Client, Future

from trivmap.errors import InputError
from trivmap.runs.progress import Interruption
from trivmap.store.environment import package_version
from trivmap.studies.scaling.attempt import Attempt
from trivmap.studies.scaling.card import StudyCard
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.trust import is_trusting

_PATIENCE = 10
"""Seconds after which a scheduler counts as silent."""


class RunFailed(Exception):
    """A run ended with an error; the text is its reason."""


def execute(root: str, name: str, version: str | None, trust: bool, *after: Any) -> str:
    """Complete a run of the study in `root` in a process of its own.

    A Dask worker calls this. `trust` is the user's decision, see `Attempt`; `after` are the results of the runs that
    it depends on. Complete runs are not changed.
    """
    if package_version("trivmap") != version:
        raise RunFailed(f"this worker has trivmap {package_version('trivmap')}, the study was begun with {version}")
    directory = StudyDirectory.open(root)
    if directory.done(name) is not None:
        return name
    attempt = Attempt(directory, name, trust=trust)
    try:
        while not attempt.ended:
            time.sleep(0.2)
    finally:
        attempt.stop()
        attempt.wait()
    reason = attempt.failure()
    if reason is not None:
        raise RunFailed(reason)
    return name


@contextlib.contextmanager
def cluster(scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at an address or in a scheduler file.

    Raises `InputError` if no scheduler answers, if its connection does not meet Dask's configuration, or if a worker
    has another version of this package.
    """
    found: dict[str, Any] = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = Client(**found, timeout=_PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"--scheduler {scheduler}: no scheduler answers there within {_PATIENCE} s; start one with "
            "dask scheduler, or leave it out to run on this machine"
        ) from error
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"--scheduler {scheduler}: {str(error).rstrip('.')}; a tls:// address needs certificates in Dask's "
            "configuration (distributed.comm.tls), and require-encryption allows no other"
        ) from error
    with client:
        _require_same_version(client)
        yield client


def exposure(client: Client) -> str | None:
    """A warning about a connection without certificates, None for one with them."""
    address = str(client.scheduler.address) if client.scheduler is not None else ""
    if address.startswith("tls://"):
        return None
    return (
        f"the scheduler at {address} asks for no certificate: anyone who reaches its port can run programs as its "
        "user, and as you; use a tls:// address if others share the machines"
    )


def _require_same_version(client: Client) -> None:
    own = package_version("trivmap")
    # A function that every worker has: if the package is missing, nothing of ours can be imported.
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

    Runs that start from another run wait for it. A run that fails is tried again as often as the card allows.
    `watching` is called about twice a second, `note` once if no worker can take a run. Raises `InputError` if the
    scheduler goes away, and `Interrupted` after a signal; in both cases the runs can be resumed.
    """
    card = directory.card()
    futures = _submitted(directory, card, client, resources)
    way_on = f"continue with trivmap study --resume {directory.root}"
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
    """True if a worker has the resources that a run takes."""
    workers: Any = client.scheduler_info(n_workers=-1)["workers"].values()
    needed = dict(resources or {})
    return any(all(worker["resources"].get(key, 0) >= needed[key] for key in needed) for worker in workers)


def _submitted(
    directory: StudyDirectory, card: StudyCard, client: Client, resources: Mapping[str, float] | None
) -> dict[str, Future]:
    futures: dict[str, Future] = {}
    root, version, stamp = str(directory.root.resolve()), package_version("trivmap"), time.time_ns()
    for place, name in enumerate(directory.incomplete()):
        before = card.runs[name].after
        after = [futures[before]] if before in futures else []
        futures[name] = client.submit(
            execute,
            root,
            name,
            version,
            is_trusting(),
            *after,
            # A unique key: the scheduler might remember the key of an earlier command.
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
