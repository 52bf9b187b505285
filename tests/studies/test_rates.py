"""The clock is a counter that the samplers advance, so that every number is known."""

import pytest

from trivmap.runs.progress import NoProgress
from trivmap.studies.rates import measure_rates


class Clock:
    def __init__(self):
        self.now, self.order = 0.0, []

    def __call__(self):
        return self.now


class Sampler:
    """Steps that take `seconds` each for all chains, `stride` at least at a time; the first call `first` more."""

    def __init__(self, clock, name, seconds, *, chains=4, stride=1, first=3.0, slow=()):
        self.clock, self.name, self.seconds, self.chains, self.stride = clock, name, seconds, chains, stride
        self.first, self.slow, self.calls = first, slow, 0

    def steps(self, count):
        self.calls += 1
        self.clock.order.append(self.name)
        blocks = -(-count // self.stride)
        factor = 10.0 if self.calls in self.slow else 1.0
        self.clock.now += blocks * self.stride * self.seconds * factor + (self.first if self.calls == 1 else 0.0)


def rates(clock, *samplers, rounds=5, seconds=0.5, **options):
    timed = {sampler.name: sampler for sampler in samplers}
    return measure_rates(timed, rounds=rounds, seconds=seconds, progress=NoProgress(), clock=clock, **options)


def test_seconds_of_one_step_of_one_chain_without_compilation():
    clock = Clock()
    found = rates(clock, Sampler(clock, "a", 0.001), Sampler(clock, "b", 0.02, chains=2, stride=8))
    assert found["a"].seconds_per_step == pytest.approx((0.001 / 4, 0.0), abs=1e-12)
    assert found["b"].seconds_per_step == pytest.approx((0.02 / 2, 0.0), abs=1e-12)
    assert found["a"].first_seconds == pytest.approx(3.001)
    assert found["a"].steps_per_round == pytest.approx(500, rel=0.01)
    assert found["b"].steps_per_round == 24


def test_rounds_take_turns():
    clock = Clock()
    samplers = [Sampler(clock, name, 0.2) for name in "abc"]
    rates(clock, *samplers, rounds=4)
    assert clock.order[-12:] == list("abc") * 4


def test_one_slow_round_changes_nothing():
    clock = Clock()
    found = rates(clock, Sampler(clock, "a", 0.25, slow=(4,)), Sampler(clock, "b", 0.25))
    assert max(found["a"].rounds) == pytest.approx(10 * min(found["a"].rounds))
    assert found["a"].seconds_per_step == pytest.approx(found["b"].seconds_per_step)


def test_a_signal_is_seen_between_turns():
    clock, calls = Clock(), []

    def check():
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rates(clock, Sampler(clock, "a", 0.25), Sampler(clock, "b", 0.25), check=check)
    assert len(clock.order) == 4
