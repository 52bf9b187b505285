import os
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from trivmap import ahead
from trivmap.ahead import Program, compile_all, compile_async, concurrent_map, default_threads, give_up


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_results_come_in_order(threads):
    def slow_at_first(n):
        time.sleep(0.02 / (n + 1))
        return n * n

    assert list(concurrent_map(slow_at_first, range(12), threads)) == [n * n for n in range(12)]
    assert list(concurrent_map(slow_at_first, [], threads)) == []


def test_so_many_calls_run_at_a_time():
    """Each call waits until three are under way: with fewer threads the barrier breaks."""
    barrier = threading.Barrier(3, timeout=20)
    assert len(list(concurrent_map(lambda _: barrier.wait(), range(9), 3))) == 9


def test_one_thread_is_the_callers_own_and_works_when_asked():
    begun = []
    results = concurrent_map(lambda n: (begun.append(n), threading.get_ident())[1], range(3), 1)
    assert begun == [] and next(results) == threading.get_ident() and begun == [0]


def test_no_more_than_one_result_waits():
    begun = []
    results = concurrent_map(begun.append, range(50), 2)
    for taken in range(5):
        next(results)
        time.sleep(0.02)
        assert len(begun) <= taken + 3
    results.close()
    assert len(begun) < 10


@pytest.mark.parametrize("threads", [1, 3])
def test_an_exception_comes_where_its_result_would(threads):
    begun = []

    def fails(n):
        begun.append(n)
        if n == 2:
            raise ValueError("two")
        return n

    results = concurrent_map(fails, range(100), threads)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert len(begun) < 10


def test_the_default_is_what_the_process_may_use():
    assert 1 <= default_threads() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            assert default_threads() == 1
        finally:
            os.sched_setaffinity(0, allowed)


def test_programs_are_compiled_as_the_caller_lowered_them():
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(True):
        mixed = jax.jit(lambda x: x + jnp.ones((), jnp.int32))
        wide = jax.jit(lambda x: jnp.zeros((), jnp.float64) + x)
        one, other = jnp.ones((), jnp.float32), jnp.ones((), jnp.float64)
        programs = compile_all((mixed, (one,)), (wide, (other,)))
        assert programs[0](one) == 2
        assert programs[1](other).dtype == jnp.float64


def test_programs_being_compiled_are_handed_over_in_the_order_of_their_calls():
    functions = [jax.jit(lambda x, n=n: x + n) for n in range(5)]
    programs = compile_async(*((function, (jnp.zeros(()),)) for function in functions))
    assert [float(program.result()(jnp.zeros(()))) for program in programs] == [0, 1, 2, 3, 4]


class TestProgram:
    def test_is_traced_once_and_by_its_caller(self):
        traced = []

        def square(x):
            traced.append(threading.get_ident())
            return x * x

        program = Program(jax.jit(square))
        program.begin(jnp.ones((3,)))
        assert traced == [threading.get_ident()]
        assert program(jnp.full((3,), 2.0)).tolist() == [4, 4, 4] and len(traced) == 1

    def test_needs_no_beginning(self):
        assert Program(jax.jit(lambda x: x + 1))(jnp.zeros(())) == 1

    def test_takes_arguments_of_one_form(self):
        program = Program(jax.jit(lambda x: x + 1))
        program.begin(jnp.zeros((3,)))
        with pytest.raises(TypeError):
            program(jnp.zeros((4,)))


def test_what_waits_is_given_up():
    release, begun = threading.Event(), []

    class Slow:
        """Compiles until it is released."""

        def lower(self, name):
            self.name = name
            return self

        def compile(self):
            begun.append(self.name)
            release.wait(20)
            return self.name

    give_up()
    first = compile_async(*((Slow(), (number,)) for number in range(ahead.default_threads())))
    (waiting,) = compile_async((Slow(), ("waiting",)))
    give_up()
    release.set()
    assert [program.result() for program in first] == list(range(ahead.default_threads()))
    assert waiting.cancelled() and "waiting" not in begun
    assert Program(jax.jit(lambda x: x + 1))(jnp.zeros(())) == 1
