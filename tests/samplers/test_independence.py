import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import square_lattice
from trivmap import Flow, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.actions.action import AbstractAction
from trivmap.bases import FreeField, Gaussian
from trivmap.bijections import Chain
from trivmap.diagnostics.rounding import rounding_of_log_weights
from trivmap.samplers import IndependenceMetropolis, accept, proposal_key

LATTICE = Lattice((2, 2))
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)
KEY = jax.random.key(4)


def kernel(action=ACTION, lattice=LATTICE) -> IndependenceMetropolis:
    return IndependenceMetropolis(Flow(Gaussian(lattice, dtype=jnp.float64), Chain(lattice, [])), action)


@jax.jit
def proposals(keys):
    return jax.vmap(kernel().propose)(keys)


def keys_of(chain, count):
    return jax.vmap(lambda index: proposal_key(KEY, chain, index))(jnp.arange(count, dtype=jnp.uint32))


class TestAccept:
    def test_by_hand(self):
        weights = jnp.log(jnp.asarray([1.0, 2.0, 1.0, 0.5, 4.0]))
        uniforms = jnp.log(jnp.asarray([0.9, 0.999, 0.51, 0.24, 0.3]))
        last, accepted = accept(jnp.asarray(-jnp.inf), weights, uniforms)
        # 1 opens the chain; 2 is larger; 1/2 < 0.51; 0.5/2 > 0.24; 4/0.5 > 1.
        assert accepted.tolist() == [True, True, False, True, True]
        assert last == weights[4]

    def test_as_python_would(self):
        rng = np.random.default_rng(0)
        weights, uniforms = 2 * rng.normal(size=500), np.log(rng.random(500))
        current, expected = -np.inf, []
        for weight, log_u in zip(weights, uniforms, strict=True):
            expected.append(bool(log_u < weight - current))
            current = weight if expected[-1] else current
        last, accepted = accept(jnp.asarray(-jnp.inf), jnp.asarray(weights), jnp.asarray(uniforms))
        assert accepted.tolist() == expected
        assert 100 < sum(expected) < 450
        assert last == current

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("position", [0, 3])
    def test_a_weight_that_is_no_number_is_never_accepted(self, bad, position):
        weights = jnp.zeros(6).at[position].set(bad)
        uniforms = jnp.full(6, -1e-3)
        last, accepted = accept(jnp.asarray(-jnp.inf), weights, uniforms)
        expected = [True] * 6
        expected[position] = False
        assert accepted.tolist() == expected
        assert last == 0

    @pytest.mark.parametrize("size", [-1e5, 1e5])
    def test_no_overflow(self, size):
        weights = jnp.asarray([size, size + 1, -size, size + 1, size + 0.5])
        uniforms = jnp.log(jnp.asarray([0.5, 0.5, 0.999, 0.999, 0.5]))
        _, accepted = accept(jnp.asarray(-jnp.inf), weights, uniforms)
        plain = [True]
        current = weights[0]
        for weight, log_u in zip(weights[1:], uniforms[1:], strict=True):
            plain.append(bool(log_u < float(weight) - float(current)))
            current = weight if plain[-1] else current
        assert accepted.tolist() == plain
        assert plain[2] == (size < 0)

    def test_goes_on_from_a_state(self):
        weights, uniforms = jnp.asarray([0.0, 1.0]), jnp.log(jnp.asarray([0.4, 0.4]))
        last, accepted = accept(jnp.asarray(1.0), weights, uniforms)
        assert accepted.tolist() == [False, True]
        last, accepted = accept(jnp.asarray(2.0), weights, uniforms)
        assert accepted.tolist() == [False, False]
        assert last == 2.0


class TestKernel:
    def test_a_proposal_is_what_it_claims(self):
        field, log_weight, log_uniform = (leaf[0] for leaf in proposals(KEY[None]))
        assert field.shape == (2, 2)
        expected = -ACTION(field) + 0.5 * jnp.sum(field**2) + 2 * np.log(2 * np.pi)
        assert log_weight == pytest.approx(float(expected), rel=1e-12)
        assert log_uniform < 0

    def test_uniform_numbers_are_uniform_and_independent_of_the_field(self):
        made = proposals(keys_of(0, 4096))
        u = np.exp(made.log_uniform)
        assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * len(u))
        assert abs(np.mean(u < 0.1) - 0.1) < 4 * 0.3 / np.sqrt(len(u))
        assert abs(np.corrcoef(u, made.log_weight)[0, 1]) < 4 / np.sqrt(len(u))
        assert abs(np.corrcoef(u, made.field[:, 0, 0])[0, 1]) < 4 / np.sqrt(len(u))

    def test_keys_differ_by_chain_and_by_index(self):
        seen = {
            tuple(np.asarray(jax.random.key_data(proposal_key(KEY, chain, index))).tolist())
            for chain in range(7)
            for index in range(7)
        }
        assert len(seen) == 49

    def test_step_agrees_with_accept(self):
        count = 60
        keys = keys_of(3, count)
        made = proposals(keys)
        last, accepted = accept(jnp.asarray(-jnp.inf), made.log_weight, made.log_uniform)

        @jax.jit
        def run(keys):
            step = kernel().step
            return jax.lax.scan(lambda state, key: step(key, state), kernel().init(keys[0]), keys[1:])

        state, info = run(keys)
        assert accepted[0]
        assert info.accepted.tolist() == accepted[1:].tolist()
        assert 10 < int(accepted.sum()) < count - 5
        np.testing.assert_allclose(state.log_weight, last, rtol=1e-13)
        before = np.asarray(made.log_weight)[np.maximum.accumulate(np.where(accepted, np.arange(count), 0))][:-1]
        np.testing.assert_allclose(info.log_ratio, made.log_weight[1:] - before, rtol=1e-11, atol=1e-13)
        latest = int(np.flatnonzero(accepted)[-1])
        np.testing.assert_allclose(state.field, made.field[latest], rtol=1e-13)

    def test_a_start_without_a_finite_weight_gives_way(self):
        class Forbidding(AbstractAction):
            """NaN where the magnetization is negative."""

            def __call__(self, field):
                return jnp.where(jnp.mean(field) < 0, jnp.nan, ACTION(field))

            @property
            def symmetries(self):
                return frozenset()

        forbidding = kernel(Forbidding())
        keys = keys_of(1, 40)
        negative = np.asarray(proposals(keys).field).mean(axis=(1, 2)) < 0

        @jax.jit
        def run(start, keys):
            state = forbidding.init(start)
            return state, *jax.lax.scan(lambda state, key: forbidding.step(key, state), state, keys)

        start, state, info = run(keys[int(np.flatnonzero(negative)[0])], keys)
        assert start.log_weight == -jnp.inf
        assert 5 < negative.sum() < 35
        assert not np.any(np.asarray(info.accepted) & negative)
        assert np.asarray(info.accepted)[~negative][0]
        assert jnp.isfinite(state.log_weight) and jnp.mean(state.field) > 0

    def test_a_wrong_proposal_distribution_still_gives_the_target(self):
        """exp(-S) on 2x2 by quadrature; the proposals are unit normal sites."""
        exact = square_lattice(*ACTION.coefficients)
        chains, steps, warmup = 64, 2000, 50
        keys = jax.jit(jax.vmap(lambda chain: keys_of(chain, steps)))(jnp.arange(chains, dtype=jnp.uint32))
        made = proposals(keys.ravel())
        logs, uniforms = (leaf.reshape(chains, steps) for leaf in (made.log_weight, made.log_uniform))
        _, accepted = jax.jit(jax.vmap(lambda *pair: accept(jnp.asarray(-jnp.inf), *pair)))(logs, uniforms)
        latest = np.maximum.accumulate(np.where(accepted, np.arange(steps), -1), axis=1)[:, warmup:]
        proposed = np.asarray(made.field).reshape(chains, steps, 4)
        field = np.take_along_axis(proposed, latest[..., None], axis=1)
        m = field.mean(axis=2)
        a, b, c, d = np.moveaxis(field, 2, 0)
        links = 2 * (a * b + c * d + a * c + b * d)
        action = (-0.5 * links + 0.5 * np.sum(field**4, axis=2)) / 4
        columns = [field**2, field**4, 4 * m**2, np.abs(m), action]
        means = np.stack([column.reshape(chains, -1).mean(axis=1) for column in columns], axis=1)
        plain = [np.mean(proposed**2), np.mean(proposed**4)]
        wanted = np.array([exact.phi2, exact.phi4, exact.susceptibility, exact.abs_magnetization, exact.action_density])
        errors = np.std(means, axis=0, ddof=1) / np.sqrt(chains)
        assert np.all(np.abs(np.mean(means, axis=0) - wanted) < 3.5 * errors)
        assert np.all(errors < 0.03)
        # The accept test had work to do: the proposals themselves are far from the target.
        assert 0.2 < float(jnp.mean(accepted)) < 0.8
        assert np.all(np.abs(np.array(plain) - wanted[:2]) > 20 * errors[:2])


class TestRounding:
    FLOW = Flow(FreeField(Lattice((8, 8)), mass=0.25, dtype=jnp.float32), Chain(Lattice((8, 8)), []))

    def test_of_a_float32_flow_is_what_its_log_weights_scatter_by(self):
        """In float64 this flow is exact: every log-weight is log Z."""
        action = FreeScalar(0.25, 2)
        rounding = rounding_of_log_weights(self.FLOW, action, KEY, 64)
        noise = jax.vmap(self.FLOW.noise)(jax.random.split(KEY, 64))
        logs = eqx.filter_jit(jax.vmap(lambda z: -self.FLOW.residual(action, z)))(noise)
        difference = np.asarray(logs) - action.log_z(self.FLOW.lattice)
        assert rounding.mean == pytest.approx(difference.mean(), abs=0.5 * difference.std())
        assert rounding.spread == pytest.approx(difference.std(), rel=0.3)
        assert 1e-7 < rounding.spread < 1e-4
