"""Which momenta a map has not learned: `python -m experiments.modes --in DIR`, with what scaling.py left there.

The spectrum <|phi_k|^2> of the proposals, after every stage of the map and by orbits of momenta, over that of embedded
clusters, which know nothing of the map. The reverse KL divergence beside what would cost a Gaussian field as much: a
ratio r of spectra, (r - 1 - log r) / 2 for every mode, and the whole covariance, which a map without translation
invariance can have wrong though its spectrum is right. And beside that of the distributions of |m| alone, than which it
cannot be less. What noise alone adds is subtracted. Writes modes.json and modes.png in results/, fills the pages.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.forward_ess import simulated
from experiments.keeping import RESULTS, fill_pages, folder_of_runs, store_shortened
from trivmap.estimate import Estimate
from trivmap.lattice import Lattice
from trivmap.loading import Run
from trivmap.observables.stages import fields_along_the_map, keys_of_batches
from trivmap.reports.figures.style import SERIES, logarithmic, new_figure, picture, styled
from trivmap.store.directory import RunDirectory
from trivmap.support import Support

MAPS = {
    "affine, reverse KL": "published-baseline/runs/affine_L{L}_seed0",
    "hybrid, reverse KL": "published-baseline/runs/hybrid_L{L}_seed0",
    "affine, path gradient": "same-map-better-training/runs/affine-path-gradient_L{L}_seed0",
    "continuous, Gauss-Newton": "flows-that-scale/runs/scratch_L{L}_seed0",
}
EXTENTS = (8, 12)
PROPOSALS, BINS = 1 << 15, 20


def spectrum(fields: np.ndarray, lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """<|phi_k|^2> / V of every orbit of momenta from (batches, n, *lattice), and its error from the batches."""
    axes = tuple(range(2, fields.ndim))
    power = (np.abs(np.fft.fftn(fields, axes=axes)) ** 2).mean(axis=1).reshape(len(fields), -1) / lattice.volume
    orbits = lattice.orbits.ravel()
    each = np.stack([np.bincount(orbits, row) / lattice.orbit_sizes for row in power])
    return each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))


def from_batches(sums: np.ndarray, estimate: Callable[[np.ndarray, int], float]) -> dict[str, float]:
    """`estimate` of the sum over (batches, ...) and their number; the error by leaving one batch out."""
    total, batches = sums.sum(axis=0), len(sums)
    left_out = [estimate(total - each, batches - 1) for each in sums]
    return {"value": estimate(total, batches), "error": float(np.std(left_out) * np.sqrt(batches - 1))}


def two_point(fields: np.ndarray, power: np.ndarray, noise: float) -> dict[str, float]:
    """KL divergence of the Gaussian field with the covariance of (batches, n, *lattice) from that with a spectrum.

    (tr M - V - log det M) / 2 with M the covariance in units of the exact one, less its mean for a sample of the exact
    field, V (V + 1) / (4 N), and less `noise`, that of the spectrum.
    """
    volume, axes = power.size, tuple(range(2, fields.ndim))
    white = np.fft.ifftn(np.fft.fftn(fields, axes=axes) / np.sqrt(power), axes=axes).real
    white = white.reshape(len(fields), -1, volume)

    def divergence(summed: np.ndarray, batches: int) -> float:
        count = batches * white.shape[1]
        matrix = summed / count
        found = (np.trace(matrix) - volume - np.linalg.slogdet(matrix)[1]) / 2
        return float(found - volume * (volume + 1) / (4 * count) - noise)

    return from_batches(np.einsum("bni,bnj->bij", white, white), divergence)


def of_the_spectrum(sizes: np.ndarray, ratio: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """What ratios of spectra cost a Gaussian field, of so many modes each, with the error; without that of noise."""
    value = np.sum(sizes * ((ratio - 1 - np.log(ratio)) / 2 - (error / ratio) ** 2 / 4))
    return {"value": float(value), "error": float(np.linalg.norm(sizes * (1 - 1 / ratio) / 2 * error))}


def of_the_mean(fields: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """KL divergence of the distributions of |m| in `BINS` bins of equal exact content.

    Less what noise alone gives, (BINS - 1) / 2 times the inverse of both numbers of independent configurations; those
    of clusters are nearly so.
    """
    axes = tuple(range(2, fields.ndim))
    known = np.abs(exact.mean(axis=axes)).ravel()
    edges = np.quantile(known, np.arange(1, BINS) / BINS)
    bins = np.searchsorted(edges, np.abs(fields.mean(axis=axes)))

    def divergence(counts: np.ndarray, batches: int) -> float:
        share = counts / counts.sum()
        noise = (BINS - 1) / 2 * (1 / counts.sum() + 1 / known.size)
        return float(np.sum(share[share > 0] * np.log(share[share > 0] * BINS)) - noise)

    return from_batches(np.stack([np.bincount(row, minlength=BINS) for row in bins]), divergence)


def judged(run: Run, sample: np.ndarray, exact: tuple[np.ndarray, np.ndarray], log_z: Estimate) -> dict[str, Any]:
    """The spectrum over the exact one after every stage, and the divergence of the trained map."""
    flow, action = run.flow, run.action
    drawn = action if flow.support is Support.EVEN else None
    batches = [fields_along_the_map(flow, drawn, keys) for keys in keys_of_batches(jax.random.key(1), PROPOSALS)]
    along = [np.stack(stage).astype(np.float64) for stage in zip(*batches, strict=True)]
    stages = []
    for stage in along:
        value, error = spectrum(stage, flow.lattice)
        ratio = value / exact[0]
        stages.append(
            {"ratio": ratio.tolist(), "error": (ratio * np.hypot(error / value, exact[1] / exact[0])).tolist()}
        )
    last, error = np.array(stages[-1]["ratio"]), np.array(stages[-1]["error"])
    sizes, infrared = flow.lattice.orbit_sizes, flow.lattice.orbit_momenta < 1
    noise = float(np.sum(sizes * (exact[1] / exact[0]) ** 2) / 4)
    loss = [record["evaluation"]["loss"] for record in run.metrics if "evaluation" in record][-1]
    return {
        "acceptance": run.summary["sampling"]["acceptance"]["value"],
        "divergence": {"value": loss["value"] + log_z.value, "error": float(np.hypot(loss["error"], log_z.error))},
        "spectrum": of_the_spectrum(sizes, last, error),
        "infrared": of_the_spectrum(sizes[infrared], last[infrared], error[infrared]),
        "mean": of_the_mean(along[-1], sample),
        "two_point": two_point(along[-1], exact[0][flow.lattice.orbits], noise),
        "stages": stages,
    }


def measured(folder: Path) -> list[dict[str, Any]]:
    """Every map, lattice by lattice."""
    rows = []
    for extent in EXTENTS:
        best = Run(RunDirectory.open(folder / MAPS["continuous, Gauss-Newton"].format(L=extent)))
        lattice, log_z = Lattice(best.card.lattice), Estimate(**best.summary["log_z"])
        sample = simulated(best.card)
        exact = spectrum(sample, lattice)
        for label, path in MAPS.items():
            run = Run(RunDirectory.open(folder / path.format(L=extent)))
            row = {"label": label, "extent": extent, "momentum_squared": lattice.orbit_momenta.tolist()}
            rows.append(row | judged(run, sample, exact, log_z))
            sys.stderr.write(f"{label} L={extent} {rows[-1]['divergence']} {rows[-1]['two_point']}\n")
    return rows


@styled
def figure(rows: list[dict[str, Any]]) -> Figure:
    """The ratio against khat^2: of the trained maps above, after every stage of the published one below."""
    drawn = new_figure(9.0, 7.2)
    panels = drawn.subplots(2, len(EXTENTS), sharex=True, sharey="row")
    for column, extent in enumerate(EXTENTS):
        own = [row for row in rows if row["extent"] == extent]
        trained = [(row["label"], row, row["stages"][-1]) for row in own]
        staged = [
            ("base" if number == 0 else f"after stage {number}", own[0], stage)
            for number, stage in enumerate(own[0]["stages"])
        ]
        for above, curves in ((panels[0, column], trained), (panels[1, column], staged)):
            for (name, row, curve), color in zip(curves, SERIES, strict=False):
                order = np.argsort(row["momentum_squared"])
                x, y, error = (np.array(v)[order] for v in (row["momentum_squared"], curve["ratio"], curve["error"]))
                above.errorbar(x, y, error, marker="o", markersize=3, linewidth=1, color=color, label=name)
            above.axhline(1.0, color="0.4", linewidth=0.8)
            if above is panels[1, column]:
                logarithmic(above)
        panels[0, column].set_title(f"L = {extent}")
        panels[1, column].set_title(f"{own[0]['label']}, stage by stage")
        panels[1, column].set_xlabel(r"$\hat k^2$")
    for row in panels:
        row[0].set_ylabel(r"$\langle|\phi_k|^2\rangle$ / exact")
        row[-1].legend(fontsize=7)
    return drawn


def main() -> None:
    """Measure, draw, and fill the pages."""
    rows = measured(folder_of_runs(__doc__))
    store_shortened("modes", {"rows": rows})
    (RESULTS / "modes.png").write_bytes(picture(figure(rows)))
    fill_pages()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
