"""The commands that measure: the samples of a run, or configurations of the user's own."""

from pathlib import Path
from typing import Any

import click

from trivmap.cli.main import command, directory_argument, file_option, json_flag, options, set_option, trust_flag
from trivmap.cli.opening import step, write_report_if_possible
from trivmap.cli.speaking import speaking_options
from trivmap.errors import InputError

_GIVEN = "FILE[:/DATASET]|RUN"


@command("trivmap measure runs/first")
@directory_argument
@set_option("measure.bins=500")
@click.option(
    "--configurations",
    "given",
    metavar=_GIVEN,
    help="Measure these configurations of exp(-S)/Z instead (HDF5, .npy, .npz, or the chains of another run).",
)
@file_option("--out", "With --configurations: the file to make for their observables, as observables.json.")
@options(speaking_options, json_flag, trust_flag)
def measure(directory: Path, overrides: tuple[str, ...], given: str | None, out: Path | None, as_json: bool) -> None:
    """Analyze the samples of a run: observables with errors, and the stages of its map; renew its report, if any.

    Configurations of your own are measured in the same way, and compared with the run and its map.
    """
    if given is not None:
        from trivmap.cli.given import measure_given

        measure_given(directory, overrides, given, out, as_json)
        return
    if out is not None:
        raise InputError("--out: goes with --configurations; the observables of a run are written into its directory")
    from trivmap.runs.pipeline import measure as analyze
    from trivmap.store.plain import is_file

    def analyze_and_report(directory: Any, display: Any, plan: Any) -> None:
        analyze(directory, display, plan=plan)
        if is_file(directory.report_path):
            write_report_if_possible(directory)

    step(analyze_and_report, directory, overrides, as_json, "measure")


@command("trivmap forward-ess runs/first hmc.h5:/fields")
@directory_argument
@click.argument("given", metavar=_GIVEN)
@options(speaking_options, json_flag, trust_flag)
def forward_ess(directory: Path, given: str, as_json: bool) -> None:
    """Judge the map of a run by configurations of exp(-S)/Z: its forward effective sample size, with the error.

    1 / (E[w] E[1/w]) sees the modes that the map misses; the effective sample size of the run does not.
    """
    from trivmap.cli.given import judge_given

    judge_given(directory, given, as_json)
