"""The cluster kernel: single updates against enumeration, chains against exact answers, refusals."""

import itertools

import jax
import numpy as np
import pytest

from tests.oracles import ChainOracle, FreeFieldOracle, square_lattice
from trivmap.actions import AbstractAction, FreeScalar, Phi4
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.samplers import ClusterCycle, SwendsenWang, Wolff
from trivmap.samplers.cluster import seed_of

UPDATES = [SwendsenWang(), Wolff(3), None]


def chain(kernel, steps, *, seed=0, warmup=200):
    """Fields of one chain, (steps, *lattice), and what `run` says about its steps."""
    key = jax.random.key(seed)
    field = kernel.init(key).field
    kernel.run(field, seed_of(key), 0, 2**40, 2**40 + warmup)
    out = np.empty((steps, kernel.lattice.volume))
    info = kernel.run(field, seed_of(key), 0, 0, steps, out=out)
    return out.reshape(steps, *kernel.lattice.shape), info


def pull(values, exact, *, bins=50):
    """(mean - exact) / error of correlated values, from bins that are long against the autocorrelation."""
    means = values[: len(values) // bins * bins].reshape(bins, -1).mean(axis=1)
    return (means.mean() - exact) / (means.std(ddof=1) / np.sqrt(bins))


def links(fields):
    axes = range(1, fields.ndim)
    return np.mean([np.mean(fields * np.roll(fields, -1, axis), axis=tuple(axes)) for axis in axes], axis=0)


def stream(*words):
    """A stream as 64-bit words: what numba hands to Python are plain integers."""
    from trivmap.samplers import numba_kernels

    return tuple(np.uint64(word) for word in numba_kernels.stream(*(np.uint64(word) for word in words)))


class TestRandomNumbers:
    """Of the compiled kernels; functions that numba compiled are callable from Python."""

    def test_are_uniform_and_never_touch_the_ends(self):
        from trivmap.samplers import numba_kernels

        counter, gamma = stream(1, 2, 3)
        draws = np.empty(2**18)
        numba_kernels.fill(draws, len(draws), counter, gamma)
        assert draws.min() > 0 and draws.max() < 1
        counts = np.histogram(draws, 64, (0, 1))[0]
        assert np.sum((counts - 4096) ** 2 / 4096) < 63 + 4 * np.sqrt(2 * 63)
        lagged = np.mean((draws[1:] - 0.5) * (draws[:-1] - 0.5)) * 12 * np.sqrt(len(draws))
        assert abs(lagged) < 4
        assert numba_kernels.uniform(np.uint64(0)) == 2.0**-53
        assert numba_kernels.uniform(np.uint64(2**64 - 1)) < 1

    def test_of_different_seeds_chains_and_steps_are_independent(self):
        from trivmap.samplers import numba_kernels

        streams = [stream(*words) for words in itertools.product(range(12), repeat=3)]
        assert len({int(counter) for counter, _ in streams}) == len({int(gamma) for _, gamma in streams}) == 12**3
        draws = np.empty((len(streams), 256))
        for row, (counter, gamma) in zip(draws, streams, strict=True):
            numba_kernels.fill(row, 256, counter, gamma)
        correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)] * 16
        assert np.abs(correlations).max() < 6 and abs(np.std(correlations) - 1) < 0.01

    def test_fast_exponential_is_exact_to_rounding(self):
        from trivmap.samplers import numba_kernels

        x = np.linspace(0, 45, 5001)
        fast = np.array([numba_kernels.decay(value) for value in x])
        np.testing.assert_allclose(fast, np.exp(-np.minimum(x, 40)), rtol=0, atol=2e-14)
        assert numba_kernels.decay(-1.0) == 1.0


class TestOneUpdate:
    """A cluster update given |phi| on 2 x 2, where every pair of neighbors has two links."""

    MODULI = np.array([[0.9, 0.3], [1.2, 0.6]])

    def frequencies(self, update, count):
        """Signs after one update of configurations with signs from their exact distribution, and that distribution."""
        c1 = -0.4
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=4))).reshape(-1, 2, 2)
        fields = signs * self.MODULI
        energy = links(fields) * 8
        exact = np.exp(-c1 * energy)
        exact /= exact.sum()
        # Width so small that the Metropolis sweeps, which always accept, leave every sign alone.
        kernel = ClusterCycle(Phi4(c1, 0.3, 0.2, 2), Lattice((2, 2)), update, sweeps=1, width=1e-9)
        starts = np.random.default_rng(1).choice(16, size=count, p=exact)
        transitions = np.zeros((16, 16))
        place = 2 ** np.arange(3, -1, -1)
        for step, start in enumerate(starts):
            field = fields[start].copy()
            kernel.run(field, np.uint64(7), 0, step, step + 1)
            transitions[start, (field.ravel() < 0) @ place] += 1
        return transitions, exact

    def swendsen_wang(self, weights):
        """Transition probabilities by enumeration of all 2^8 bond configurations."""
        sites = np.array([[0, 1], [2, 3]])
        pairs = [(sites[x], sites[tuple(np.add(x, mu) % 2)]) for x in np.ndindex(2, 2) for mu in ([1, 0], [0, 1])]
        signs = np.array(list(itertools.product([1, -1], repeat=4)))
        matrix = np.zeros((16, 16))
        for row, sign in enumerate(signs):
            for bonds in itertools.product([0, 1], repeat=8):
                probability, label = 1.0, list(range(4))
                for (a, b), bond in zip(pairs, bonds, strict=True):
                    active = (1 - np.exp(-2 * weights[a] * weights[b])) * (sign[a] == sign[b])
                    probability *= active if bond else 1 - active
                    if bond:
                        label = [label[b] if each == label[a] else each for each in label]
                if probability == 0:
                    continue
                roots = sorted(set(label))
                for flips in itertools.product([1, -1], repeat=len(roots)):
                    new = [s * flips[roots.index(each)] for s, each in zip(sign, label, strict=True)]
                    matrix[row, np.array([s < 0 for s in new]) @ [8, 4, 2, 1]] += probability / 2 ** len(roots)
        return matrix

    def test_swendsen_wang_has_the_enumerated_transition_probabilities(self):
        count = 20_000
        transitions, exact = self.frequencies(SwendsenWang(), count)
        matrix = self.swendsen_wang(np.sqrt(0.4) * self.MODULI.ravel())
        np.testing.assert_allclose(exact @ matrix, exact, atol=1e-14)
        expected = transitions.sum(axis=1, keepdims=True) * matrix
        seen = expected > 5
        chi_square = np.sum((transitions - expected)[seen] ** 2 / expected[seen])
        freedom = seen.sum() - 16
        assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)

    @pytest.mark.parametrize("update", [Wolff(1), Wolff(2)], ids=str)
    def test_wolff_leaves_the_distribution_of_the_signs_as_it_is(self, update):
        count = 20_000
        transitions, exact = self.frequencies(update, count)
        after = transitions.sum(axis=0)
        assert np.sum((after - count * exact) ** 2 / (count * exact)) < 15 + 4 * np.sqrt(30)
        # Detailed balance: one cluster flipped takes a to b as often as b to a.
        if update.clusters == 1:
            there, back = transitions[np.triu_indices(16, 1)], transitions.T[np.triu_indices(16, 1)]
            seen = there + back > 10
            flow = (there - back)[seen] ** 2 / (there + back)[seen]
            assert abs(flow.sum() - seen.sum()) < 4 * np.sqrt(2 * seen.sum())


class TestChains:
    @pytest.mark.parametrize("update", UPDATES, ids=str)
    def test_two_by_two_is_the_quadrature(self, update):
        exact = square_lattice(-0.5, 0.3, 0.2)
        fields, _ = chain(ClusterCycle(Phi4(-0.5, 0.3, 0.2, 2), Lattice((2, 2)), update), 200_000)
        m = fields.mean(axis=(1, 2))
        pulls = [
            pull(4 * m**2, exact.susceptibility),
            pull(np.abs(m), exact.abs_magnetization),
            pull((fields**2).mean(axis=(1, 2)), exact.phi2),
            pull((fields**4).mean(axis=(1, 2)), exact.phi4),
            pull(links(fields), exact.ising_energy),
            pull(m, 0.0),
        ]
        assert np.max(np.abs(pulls)) < 3.5

    @pytest.mark.parametrize("update", UPDATES, ids=str)
    @pytest.mark.parametrize("extent", [2, 7, 12])
    def test_ring_is_the_transfer_matrix(self, update, extent):
        exact = ChainOracle(extent, -0.8, -0.5, 0.4)
        kernel = ClusterCycle(Phi4(-0.8, -0.5, 0.4, 1), Lattice((extent,)), update, hits=2)
        fields, _ = chain(kernel, 60_000)
        pulls = [
            pull((fields**2).mean(axis=1), exact.phi2),
            pull((fields**4).mean(axis=1), exact.phi4),
            pull(fields.mean(axis=1) ** 2, exact.magnetization_squared),
            pull(links(fields), exact.two_point[1]),
        ]
        assert np.max(np.abs(pulls)) < 3.5

    @pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4), (3, 2, 2, 3)], ids=str)
    def test_free_field_in_any_dimension(self, shape):
        dimension = len(shape)
        exact = FreeFieldOracle(shape, -1.0, dimension + 0.4)
        fields, _ = chain(ClusterCycle(FreeScalar(0.8, dimension), Lattice(shape)), 20_000)
        axes = tuple(range(1, dimension + 1))
        pulls = [pull((fields**2).mean(axis=axes), exact.propagator.flat[0])]
        for axis in axes:
            step = [0] * dimension
            step[axis - 1] = 1
            pulls.append(pull((fields * np.roll(fields, -1, axis)).mean(axis=axes), exact.propagator[tuple(step)]))
        pulls.append(pull(fields.mean(axis=axes) ** 2, exact.propagator.mean()))
        assert np.max(np.abs(pulls)) < 3.5

    @pytest.mark.parametrize("update", UPDATES, ids=str)
    def test_exact_samples_stay_so(self, update):
        """Stationarity of a single step: many independent configurations before and after."""
        oracle = FreeFieldOracle((4, 3), -1.0, 2.2)
        kernel = ClusterCycle(FreeScalar(0.4, 2), Lattice((4, 3)), update, sweeps=1)
        fields = np.ascontiguousarray(oracle.sample(np.random.default_rng(2), 10_000))
        for index, field in enumerate(fields):
            kernel.run(field, np.uint64(5), index, 0, 1)
        covariance = np.einsum("nij,nkl->ijkl", fields, fields) / len(fields)
        i, j, k, m = np.ix_(range(4), range(3), range(4), range(3))
        exact = oracle.propagator[(k - i) % 4, (m - j) % 3]
        variance = (oracle.propagator[0, 0] ** 2 + exact**2) / len(fields)
        assert np.max(np.abs(covariance - exact) / np.sqrt(variance)) < 4.5

    def test_clusters_of_both_updates_have_the_same_mean_size(self):
        sizes = []
        for update in (SwendsenWang(), Wolff(2)):
            kernel = ClusterCycle(Phi4(-0.576, 0.0, 0.5, 2), Lattice((8, 8)), update)
            rates = kernel.rates(chain(kernel, 40_000)[1])
            means = rates.cluster_size.reshape(50, -1).mean(axis=1)
            sizes.append((means.mean(), means.std(ddof=1) / np.sqrt(50)))
        (first, error), (second, other) = sizes
        assert abs(first - second) < 3.5 * np.hypot(error, other) < 0.05 * first


class TestKernel:
    def test_step_is_step_0_of_a_run(self):
        kernel = ClusterCycle(Phi4(-0.5, 0.3, 0.2, 2), Lattice((4, 6)))
        key = jax.random.key(3)
        state = kernel.init(key)
        before = state.field.copy()
        new, info = kernel.step(key, state)
        assert np.array_equal(state.field, before) and not np.array_equal(new.field, before)
        field = before.copy()
        rates = kernel.rates(kernel.run(field, seed_of(key), 0, 0, 1))
        assert np.array_equal(field, new.field)
        assert (info.acceptance, info.clusters) == (rates.acceptance[0], rates.clusters[0])
        assert 0 < info.acceptance < 1 and 1 <= info.clusters <= 24 and 1 / 24 <= info.cluster_size <= 1

    @pytest.mark.parametrize("update", UPDATES, ids=str)
    def test_steps_depend_on_seed_chain_and_index_alone(self, update):
        kernel = ClusterCycle(Phi4(-0.5, 0.3, 0.2, 2), Lattice((4, 6)), update)
        whole = kernel.init(jax.random.key(0)).field
        cut, other = whole.copy(), whole.copy()
        kernel.run(whole, np.uint64(1), 5, 10, 20)
        kernel.run(cut, np.uint64(1), 5, 10, 13)
        kernel.run(cut, np.uint64(1), 5, 13, 20)
        kernel.run(other, np.uint64(1), 6, 10, 20)
        assert np.array_equal(whole, cut) and not np.array_equal(whole, other)

    def test_starts_differ_by_key_and_chain(self):
        kernel = ClusterCycle(Phi4(-0.5, 0.3, 0.2, 2), Lattice((4, 6)))
        starts = [kernel.init(jax.random.key(k), chain=c).field for k, c in ((0, 0), (0, 1), (1, 0))]
        assert all(not np.array_equal(a, b) for a, b in itertools.combinations(starts, 2))
        assert all(np.isfinite(start).all() and start.shape == (4, 6) for start in starts)

    def test_works_where_nothing_can_be_cached(self, monkeypatch):
        from trivmap.samplers import numba_kernels

        def njit(*, cache=False, **options):
            if cache:
                raise RuntimeError("cannot cache function: no locator available")
            return lambda function: function

        monkeypatch.setattr(numba_kernels.numba, "njit", njit)
        assert numba_kernels._entry(lambda x: x + 1)(1) == 2

    def test_works_where_the_cache_cannot_be_written_after_all(self, monkeypatch):
        from trivmap.samplers import numba_kernels

        calls = []

        def kernel(x):
            calls.append(x)
            if len(calls) == 1:
                raise OSError("No space left on device")
            return x + 1

        monkeypatch.setattr(numba_kernels.numba, "njit", lambda **options: lambda function: kernel)
        assert numba_kernels._entry(kernel)(1) == 2 and calls == [1, 1]


class Shifted(AbstractAction):
    """Not of the form that clusters need."""

    def __call__(self, field):
        return (field**2).sum()

    @property
    def symmetries(self):
        return frozenset({"z2"})


class TestRefusals:
    @pytest.mark.parametrize(
        ("action", "message"),
        [
            (Shifted(), "action: cluster updates need S = .* Shifted is not of this form; use HMC"),
            (Phi4(0.3, 1.0, 0.1, 2), r"action: cluster updates need .* c1 < 0 \(ferromagnetic\), got c1=0.3; use HMC"),
            (Phi4(0.0, 1.0, 0.1, 2), "got c1=0; use HMC"),
            (Phi4(-0.3, 1.0, 0.1, 3), "3 dimensions"),
        ],
    )
    def test_other_actions(self, action, message):
        with pytest.raises(InputError, match=message):
            ClusterCycle(action, Lattice((4, 4)))

    @pytest.mark.parametrize("options", [{"sweeps": 0}, {"hits": 0}, {"width": 0.0}, {"width": float("nan")}])
    def test_senseless_options(self, options):
        with pytest.raises(InputError, match=next(iter(options))):
            ClusterCycle(FreeScalar(1.0, 2), Lattice((4, 4)), **options)

    def test_fields_that_cannot_be_changed_in_place(self):
        kernel = ClusterCycle(FreeScalar(1.0, 2), Lattice((4, 6)))
        for field in (np.zeros((4, 6), np.float32), np.zeros((6, 4)).T, np.zeros((6, 4))):
            with pytest.raises(InputError, match=r"field: needs contiguous float64 of shape \(4, 6\)"):
                kernel.run(field, np.uint64(0), 0, 0, 1)

    def test_no_cluster(self):
        with pytest.raises(InputError, match="clusters: a Wolff update needs at least 1 cluster, got 0"):
            Wolff(0)
