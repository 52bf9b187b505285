"""The driver of cluster updates: contract, adaptation, results against references."""

import functools
import itertools
import json
from importlib import resources

import jax
import numpy as np
import pytest

from trivmap.actions import Phi4
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import ArrayHistory, analyze, measure, trust
from trivmap.samplers import ClusterCycle, SwendsenWang, Wolff
from trivmap.simulation import ClusterChains

UPDATES = [SwendsenWang(), Wolff(), Wolff(2), None]


def phi4(beta):
    return Phi4.from_couplings("bosetti2015", 2, beta=beta, lam=0.5)


def chains(extent=4, beta=0.5, update=UPDATES[0], *, seed=1, **options):
    kernel = ClusterCycle(phi4(beta), Lattice((extent, extent)), update)
    return ClusterChains(kernel, jax.random.key(seed), **{"chains": 2, "warmup": 40} | options)


def results(driver, steps):
    part, state = driver.part(driver.start(), 0, steps)
    return analyze(ArrayHistory(part.observables, lattice=driver.kernel.lattice.shape)), part, state


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert np.array_equal(values, second[name]), name


class TestContract:
    @pytest.mark.parametrize("update", UPDATES, ids=str)
    @pytest.mark.parametrize("handed_in", [False, True])
    def test_parts_and_threads_do_not_matter(self, update, handed_in):
        options = {"measure": functools.partial(measure, phi4(0.5))} if handed_in else {}
        whole, cut = chains(update=update, threads=2, **options), chains(update=update, threads=1, **options)
        cut.batch = 7
        state = whole.start()
        assert_same(state, cut.start())
        expected, last = whole.part(state, 0, 30, thin=4)
        parts, edges = [], [0, 1, 9, 10, 30]
        for start, stop in itertools.pairwise(edges):
            part, state = cut.part(state, start, stop, thin=4)
            parts.append(part)
        assert_same(last, state)
        assert expected.accepted.all() and expected.accepted.shape == (2, 30)
        assert expected.fields.shape == (2, 8, 4, 4)
        assert np.array_equal(expected.fields, np.concatenate([part.fields for part in parts], axis=1))
        for name, values in expected.observables.items():
            together = np.concatenate([part.observables[name] for part in parts], axis=1)
            # A compiled program for another batch may add in another order.
            tolerance = {"rtol": 1e-5, "atol": 1e-6} if handed_in else {"rtol": 0, "atol": 0}
            np.testing.assert_allclose(values, together, **tolerance, err_msg=name)

    def test_a_part_leaves_the_state_it_starts_from(self):
        driver = chains()
        state = driver.start()
        before = {name: values.copy() for name, values in state.items()}
        driver.part(state, 0, 5)
        assert_same(state, before)

    def test_observables_are_those_of_the_stored_fields(self):
        driver = chains()
        part, state = driver.part(driver.start(), 0, 12, thin=1)
        expected = jax.vmap(jax.vmap(functools.partial(measure, phi4(0.5))))(part.fields)
        assert set(part.observables) == {*expected, "metropolis_acceptance", "cluster_size"}
        for name, values in expected.items():
            np.testing.assert_allclose(part.observables[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
        assert np.array_equal(part.fields[:, -1], state["fields"])

    def test_chains_and_keys_differ(self):
        driver, other = chains(), chains(seed=2)
        fields = [*driver.start()["fields"], *other.start()["fields"]]
        assert len({field.tobytes() for field in fields}) == 4

    @pytest.mark.parametrize(
        ("options", "message"), [({"chains": 0}, "chains: needs"), ({"warmup": 10}, "warmup: cluster updates need")]
    )
    def test_senseless_options(self, options, message):
        with pytest.raises(InputError, match=message):
            chains(**options)


class TestWarmUp:
    def test_width_is_tuned_to_half_the_proposals_and_then_kept(self):
        driver = chains(extent=8, beta=0.576, warmup=200)
        driver.kernel.width = 50.0
        state = driver.start()
        part, after = driver.part(state, 0, 400)
        assert abs(part.observables["metropolis_acceptance"].mean() - 0.5) < 0.03
        assert np.array_equal(state["width"], after["width"]) and np.ptp(state["width"]) > 0

    def test_number_of_wolff_clusters_makes_a_sweep(self):
        driver = chains(extent=8, beta=0.576, update=Wolff(), warmup=200)
        part, state = driver.part(driver.start(), 0, 400)
        covered = state["clusters"] * part.observables["cluster_size"].mean(axis=1)
        assert np.all((covered > 0.5) & (covered < 2))

    def test_diagnostics_are_the_means_over_the_steps(self):
        for update, name in zip(UPDATES, ["swendsen-wang", "wolff", "wolff", "none"], strict=True):
            driver = chains(update=update)
            state = driver.start()
            assert "cluster_size" not in driver.diagnostics(state)
            part, state = driver.part(state, 0, 50)
            facts = json.loads(json.dumps(driver.diagnostics(state)))
            assert facts["update"] == name and facts["width"] == state["width"].tolist()
            for fact in ("metropolis_acceptance", "cluster_size"):
                if fact == "cluster_size" and update == Wolff():
                    continue  # chains with different numbers of clusters: weighted by them
                assert facts[fact] == pytest.approx(part.observables[fact].mean())


def reference(extent):
    table = json.loads(resources.files("trivmap.reports").joinpath("reference/phi4_2d.json").read_text())
    (point,) = [point for point in table["points"] if point["lattice"] == [extent, extent]]
    return point["beta"], {name: (each["value"], each["error"]) for name, each in point["observables"].items()}


# An independent C program's.
L32 = {
    "susceptibility": (76.82, 0.15),
    "correlation_length": (8.000, 0.011),
    "abs_magnetization": (0.22819, 0.00025),
    "binder": (0.2494, 0.0007),
}
POINTS = [(8, *reference(8), 15_000), (16, *reference(16), 6000), (32, 0.6614, L32, 2000)]


class TestPhysics:
    @pytest.mark.parametrize(("extent", "beta", "known", "steps"), POINTS, ids=lambda value: str(value)[:6])
    def test_line_of_constant_physics(self, extent, beta, known, steps, monkeypatch):
        # Fewer than a result needs: the sampler is tested here, not the error of its error.
        monkeypatch.setattr(trust, "LEAST_OF_CURVED", 800)
        monkeypatch.setattr(trust, "LEAST_OF_ITS_OWN_CURVED", 500)
        found, _, _ = results(chains(extent, beta, chains=4, warmup=100), steps)
        pulls = {
            name: (found[name].value - value) / np.hypot(found[name].dvalue, error)
            for name, (value, error) in known.items()
        }
        assert max(map(abs, pulls.values())) < 3.5, pulls
        assert abs(found["schwinger_dyson"].value - 1) < 3.5 * found["schwinger_dyson"].dvalue < 0.02
        assert found["susceptibility"].dvalue < 0.05 * found["susceptibility"].value

    @pytest.mark.parametrize(("update", "beta"), [(SwendsenWang(), 0.687), (SwendsenWang(), 0.75), (Wolff(), 0.75)])
    def test_both_sectors_are_visited_equally(self, update, beta):
        """At and beyond the critical point: the sign of m changes all the time, half the time it is positive."""
        found, part, _ = results(chains(16, beta, update, chains=4, warmup=100), 1500)
        positive = part.observables["magnetization"] > 0
        signs = analyze(ArrayHistory({"positive": positive}))["positive"]
        assert abs(signs.value - 0.5) < 3.5 * signs.dvalue < 0.1
        assert np.all(positive.mean(axis=1) > 0.3) and np.all(positive.mean(axis=1) < 0.7)
        assert abs(found["schwinger_dyson"].value - 1) < 3.5 * found["schwinger_dyson"].dvalue < 0.03
        if beta == 0.75:
            # <|m|>^2 / <m^2> is 2 / pi without order, and 1 for two sharp peaks.
            assert 16**2 * found["abs_magnetization"].value ** 2 > 0.9 * found["susceptibility"].value
