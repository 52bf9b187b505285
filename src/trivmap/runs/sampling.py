"""The sampling step of a run: chains continue part by part until the card's proposals are stored."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from trivmap.ahead import give_up
from trivmap.cards.card import RunCard
from trivmap.cards.sampling import ClusterSampling, Sampling
from trivmap.errors import InputError
from trivmap.processes import is_distributed, is_main_process
from trivmap.runs.budget import part_length, within_memory
from trivmap.runs.pipeline import facts_of_samples, own_measurements, renew
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interruption, NoProgress, Progress, shown
from trivmap.runs.samplers import Sampler, build_sampler
from trivmap.simulation import State
from trivmap.store.directory import RunDirectory, finite
from trivmap.store.environment import generator, package_version, workforce
from trivmap.store.samples import SampleReader, SampleWriter


@within_memory("sampling.batch, sampling.chains or sampling.part")
def sample(
    run: RunDirectory, progress: Progress | None = None, card: RunCard | None = None, *, plan: Plan | None = None
) -> dict[str, Any]:
    """Draw the proposals that the card asks for and that are not stored yet; returns the summary.

    The stored proposals do not depend on interruptions, nor (up to rounding) on batch or part sizes. `card` may change
    the section `sampling`; it becomes the run's card once it agrees with the stored samples. `plan` is the plan of the
    card, if the caller has one.
    """
    progress = progress or NoProgress()
    present = run.card()
    plan = plan or Plan(card or present)
    card, section = plan.card, plan.card.sampling
    if is_distributed() and isinstance(section, ClusterSampling):
        raise InputError("sampling.kind: cluster works in one process; start it without the others")
    with run.locked(), Interruption.catching() as interruption, contextlib.ExitStack() as stack:
        stack.push(_without_waiting)
        started = time.monotonic()
        if card.training is None:
            renew(run, plan)
        sampler = build_sampler(run, plan)
        drawn_before = run.summary().get("sampling")
        if not drawn_before or drawn_before["proposals"] != section.proposals:
            sampler.begin()
        writer = SampleWriter(run.root, _attributes(plan, sampler), no_fewer=True)
        # Written only now, after the check that stored samples have the same sampler.
        if sampler.certified is not None:
            sampler.certified.keep()
        if card != present:
            run.write_card(card)
        stored = writer.state
        seconds = float(stored.pop("seconds", 0.0))
        each = section.proposals // section.chains
        length = part_length(plan)
        with shown(progress, "sample", section.proposals, writer.completed * section.chains):
            state = stored or sampler.driver.start()
            for start in range(writer.completed, each, length):
                stop = min(start + length, each)
                stopped = (
                    f"interrupted after {start} of {each} proposals per chain; continue with trivmap sample {run.root}"
                )
                interruption.check(stopped)

                def done(steps: int, start: int = start, stop: int = stop, stopped: str = stopped) -> None:
                    progress.update(start * section.chains + steps)
                    if steps < (stop - start) * section.chains:
                        # A complete part is stored before the interruption.
                        interruption.check(stopped)

                thin = section.thin if section.save_fields else None
                part, state = sampler.driver.part(state, start, stop, thin=thin, done=done)
                if is_main_process():
                    writer.append(**part._asdict(), state=state | {"seconds": seconds + time.monotonic() - started})
        if is_main_process():
            outcome = _summary(run, section, sampler, state, seconds + time.monotonic() - started)
            if not drawn_before or _compared(drawn_before) != _compared(outcome["sampling"]):
                # Measurements of other proposals, or with other judgments, do not describe these samples. Otherwise the
                # summary is not changed: measuring may have withheld numbers that sampling would print.
                run.update_summary(**outcome)
        interruption.check(f"interrupted after the last proposal; continue with trivmap measure {run.root}")
        return run.summary()


def _without_waiting(kind: type[BaseException] | None, *_: Any) -> None:
    """At a failure or a stop, cancel the compilation of unused programs: the process would wait for them."""
    if kind is not None:
        give_up()


def _attributes(plan: Plan, sampler: Sampler) -> dict[str, Any]:
    """The facts that identify the samples: a resumed run must agree in all of them."""
    section, own = plan.card.sampling, sorted(own_measurements(plan))
    return {
        **facts_of_samples(plan.card),
        "history": sampler.driver.history,
        "chains": section.chains,
        "proposals": section.proposals,
        "thin": section.thin,
        "save_fields": section.save_fields,
        "generator": generator(plan.keys["sample"]),
        **sampler.settle(),
        # Runs without such measurements, including old ones, do not have this attribute.
        **({"own_measurements": ", ".join(own)} if own else {}),
        "trivmap": package_version("trivmap"),
    }


def _compared(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The results of a sampling step, without its time and machine."""
    return {key: value for key, value in sampling.items() if key not in ("wall_seconds", *workforce())}


def _summary(run: RunDirectory, section: Sampling, sampler: Sampler, state: State, seconds: float) -> dict[str, Any]:
    with SampleReader(run.root) as reader:
        sampling, log_z, reasons = sampler.judge(reader, state)
        drawn = reader.chains * reader.n
    common = {"kind": section.kind, "chains": section.chains, "proposals": drawn}
    return finite(
        {
            "sampling": {**common, **sampling, "wall_seconds": seconds, **workforce()},
            "log_z": None if "log_z" in reasons else log_z,
            "untrusted": reasons,
            "observables": {},
            "chain_withheld": None,
            "integration_shift": {},
        }
    )
