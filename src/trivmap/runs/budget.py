"""The budget of a run, from its card alone: configurations, bytes of samples, and a lower bound of the memory.

Bytes on disk are the bytes of the stored arrays; each file is larger by a few kilobytes. Bytes of memory are lower
bounds from the largest arrays only: a run that exceeds them cannot work; a run within them may still fail.
"""

import math
import os
import resource
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import psutil

from trivmap.cards.card import RunCard
from trivmap.cards.kernels import KernelSampling
from trivmap.cards.sampling import ClusterSampling, HamiltonianSampling, ProposalSampling
from trivmap.errors import InputError
from trivmap.runs.plan import Plan
from trivmap.simulation import default_batch
from trivmap.store.sample_parts import CHUNK

_SCALARS = 6
"""Measured numbers per configuration that do not depend on the lattice, in float64."""
_HMC_FIELDS = 6
"""Fields that a chain needs in a trajectory: position, momentum and force at two points."""
_TRAINING_FIELDS = 3
"""Fields that a configuration needs in training: its noise, the field, the gradient."""
_PER_PROPOSAL = {True: 34, False: 17}
"""Bytes per step for copies of the stored data while weights, if there are any, or magnetizations are judged."""
_STAGE_BATCHES = 16
"""The number of batches in which stages are measured."""


class Budget(NamedTuple):
    """The budget of a run, see `budget`."""

    configurations: int
    """Largest number of evaluations of the map in training."""
    proposals: int
    disk: int
    """Bytes of samples."""
    memory: dict[str, int]
    """Bytes that are needed at the same time, by the key that must be lowered to reduce them."""


def budget(plan: Plan, *, training: bool = True) -> Budget:
    """The budget of a run; without `training`, the budget of sampling and measuring alone."""
    card, volume = plan.card, plan.lattice.volume
    rungs = plan.rungs if training and card.training is not None else ()
    parameters = (plan.parameters or 0) if rungs else 0
    needs = [*(_training(rung, parameters) for rung in rungs), _sampling(plan)]
    if card.model is not None:
        batch = card.measure.stages.proposals // _STAGE_BATCHES
        needs.append({"measure.stages.proposals": batch * volume * _item(card) * (len(card.model.maps) + 1)})
    memory: dict[str, int] = {}
    for each in needs:
        for key, size in each.items():
            memory[key] = max(size, memory.get(key, 0))
    configurations = sum(_configurations(rung) for rung in rungs)
    return Budget(configurations, card.sampling.proposals, _disk(plan), memory)


def _numbers(plan: Plan) -> int:
    """Numbers in one configuration."""
    return math.prod(plan.action.space.shape(plan.lattice))


def row_bytes(plan: Plan) -> int:
    """Bytes that one step of one chain takes in a part of the samples, its field left out."""
    return sum(_columns(plan))


def _columns(plan: Plan) -> list[int]:
    """Bytes of a step in each dataset of a part, fields left out."""
    lattice, section = plan.lattice, plan.card.sampling
    of_lattice = [8 * (max(lattice.shape) // 2 + 1), 4 * lattice.orbit_count()]
    match section:
        case ProposalSampling() | HamiltonianSampling() | KernelSampling():
            own = [8]
        case ClusterSampling():
            own = [8, 8]
        case _:
            own = []
    return [1, *own, *[8] * _SCALARS, 16, *of_lattice, *_own_bytes(plan)]


def _own_bytes(plan: Plan) -> list[int]:
    """Bytes of each measurement of the user's own observables on one configuration."""
    from trivmap.observables.measure import measuring
    from trivmap.observables.own import measured_shapes

    own = plan.observables
    shapes = measured_shapes(own, plan.action, plan.lattice, plan.card.dtype) if own else {}
    return [shapes[each.stored].size * shapes[each.stored].dtype.itemsize for each, _ in measuring(own)]


def _disk(plan: Plan) -> int:
    """Bytes of all parts. A dataset is stored in whole chunks, whose ends may be empty."""
    section, length, columns = plan.card.sampling, part_length(plan), _columns(plan)
    each = section.proposals // section.chains
    size = _numbers(plan) * (8 if isinstance(section, ClusterSampling) else _item(plan.card))

    def part(steps: int) -> int:
        datasets = [(steps, column) for column in columns]
        datasets += [(-(-steps // section.thin), size)] if section.save_fields else []
        return sum(_stored_bytes(count, step) for count, step in datasets)

    whole, rest = divmod(each, length)
    return section.chains * (whole * part(length) + (part(rest) if rest else 0))


def _stored_bytes(count: int, step: int) -> int:
    chunk = max(1, min(count, CHUNK // step))
    return -(-count // chunk) * chunk * step


def part_length(plan: Plan) -> int:
    """Steps of each chain in one part: about 64 MB in all, and no more than a kill may cost."""
    section, volume = plan.card.sampling, plan.lattice.volume
    if section.part is not None:
        return section.part
    bytes_each = 8 * (20 + volume // 4) + sum(_own_bytes(plan)) + (8 * _numbers(plan) if section.save_fields else 0)
    return int(np.clip(2**26 // (bytes_each * section.chains), 256, 25_000))


def require_room(budgets: Iterable[Budget], root: Path) -> None:
    """Refuse runs that exceed the memory of this process or the free disk space at `root`.

    Samples that are already stored need no more space. Raises an `InputError` that names the key to lower.
    """
    budgets, limit = list(budgets), memory_limit()
    for each in budgets:
        for key, size in each.memory.items():
            if size > limit:
                raise InputError(
                    f"{key}: needs at least {amount(size)} of memory, and this process has {amount(limit)}; lower it, "
                    "or give --force to try"
                )
    free = free_disk(root)
    if free is None:
        return
    wanted = sum(each.disk for each in budgets) - _stored(root / "samples")
    if wanted > free:
        raise InputError(
            f"sampling.proposals: the samples will take {amount(wanted)}, and {amount(free)} are free at {root}; lower "
            "it, leave save_fields out or raise thin, or give --force to try"
        )


def expected(budgets: Iterable[Budget]) -> str:
    """A line about the expected work."""
    budgets = list(budgets)
    configurations = sum(each.configurations for each in budgets)
    parts = [f"at most {configurations} configurations in training"] if configurations else []
    parts.append(f"{sum(each.proposals for each in budgets)} proposals, {amount(sum(each.disk for each in budgets))}")
    memory = max(size for each in budgets for size in each.memory.values())
    return f"expected: {'; '.join(parts)} of samples; at least {amount(memory)} of memory for the largest arrays"


def amount(size: int | float) -> str:
    """Bytes as 512 B, 3.2 MB or 41 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            return f"{size:.2g} {unit}" if size < 10 else f"{size:.0f} {unit}"
        size /= 1000
    raise AssertionError


def memory_limit() -> int:
    """Bytes of memory that this process may use: the machine's, or less if a limit is set."""
    limits = [psutil.virtual_memory().total]
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        limits += [soft] if soft != resource.RLIM_INFINITY else []
    for path in _control_groups():
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdecimal() else []
    return min(limits)


def free_disk(path: Path) -> int | None:
    """Bytes that can still be written where `path` is, or will be; None if unknown."""
    there = Path(os.path.abspath(path))
    while not there.exists() and there != there.parent:
        there = there.parent
    usage = shutil.disk_usage(there)
    # File systems such as /proc have no size.
    return usage.free if usage.total else None


def _control_groups() -> Iterable[Path]:
    """The folders with the limits of the control groups of this process, including outer groups."""
    root = Path("/sys/fs/cgroup")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            base = root / controllers
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            inside = Path(group.lstrip("/"))
            for folder in (inside, *inside.parents):
                yield base / folder / name


def _stored(folder: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in folder.iterdir())
    except OSError:
        return 0


def _item(card: RunCard) -> int:
    return np.dtype(card.dtype).itemsize


def _configurations(plan: Plan) -> int:
    """Configurations for a rung of the ladder or the card's own lattice, including evaluations of the acceptance."""
    section = plan.card.training
    assert section is not None
    return plan.training.configurations_until(section.steps) + section.judged


def _training(plan: Plan, parameters: int) -> dict[str, int]:
    card = plan.card
    assert card.training is not None
    section, field = card.training, math.prod(card.lattice) * _item(card)
    batch = max(batch for _, batch in section.phases)
    needs = {
        "training.batch": _TRAINING_FIELDS * batch * field,
        "training.evaluate.batch": 2 * section.evaluate.batch * field,
        "training.evaluate.proposals": 8 * section.evaluate.proposals,
        # The parameters and their gradient.
        "model": 2 * parameters * _item(card),
    }
    needs_more = plan.training.optimizer.workspace(parameters, batch, _item(card))
    needs["model"] = max(needs["model"], needs_more.get("model", 0))
    needs["training.batch"] += needs_more.get("batch", 0)
    return needs


def _sampling(plan: Plan) -> dict[str, int]:
    section, row, field = plan.card.sampling, row_bytes(plan), _numbers(plan) * _item(plan.card)
    each = section.proposals // section.chains
    steps = min(part_length(plan), each)
    # The arrays of a part, and the file that is built from them in memory.
    part = 2 * section.chains * steps * row
    if section.save_fields:
        part += 2 * section.chains * -(-steps // section.thin) * field
    needs = {
        "sampling.proposals": section.proposals * _PER_PROPOSAL[isinstance(section, ProposalSampling | KernelSampling)],
        "sampling.chains" if section.part is None else "sampling.part": part,
    }
    match section:
        case ProposalSampling():
            batch = section.batch or min(each, default_batch(plan.lattice.volume))
            needs["sampling.batch"] = batch * (2 * field + row)
        case HamiltonianSampling():
            needs["sampling.chains"] = max(needs.get("sampling.chains", 0), _HMC_FIELDS * section.chains * field)
        case ClusterSampling():
            fields = section.chains * plan.lattice.volume * 8
            needs["sampling.chains"] = max(needs.get("sampling.chains", 0), fields)
    return needs


@contextmanager
def within_memory(keys: str) -> Iterator[None]:
    """Turn an out-of-memory error of Python, NumPy or JAX into an `InputError` that names the keys to lower."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        said = str(error)
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in said and "ut of memory" not in said:
            raise
        raise InputError(f"{keys}: there is not enough memory; lower it, or take a machine with more") from error
