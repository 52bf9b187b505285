"""Arithmetic operations of a function, with every loop counted as often as it runs."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend.core as jex


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Arithmetic operations of `function(*arguments)`, from the compiler's own count of every loop's body.

    The compiler counts a loop's body once. Here the count of a body is multiplied by the loop's length, also for nested
    loops. A loop whose length depends on runtime values (`while_loop`, `fori_loop` with a traced bound, the iterations
    of a linear solver) counts as one iteration, a branch as its most expensive choice. Operations on integers,
    including those for random numbers, count like those on floating-point numbers; a transcendental function counts as
    one. Calls of libraries (matrix factorizations) are not counted.
    """
    return _total(jax.make_jaxpr(function)(*arguments))


def _total(jaxpr: jex.ClosedJaxpr) -> float:
    return _once(jaxpr) + _missing(jaxpr.jaxpr)


def _missing(jaxpr: Any) -> float:
    """The operations that the compiler misses, because it counts every loop's body once."""
    missing = 0.0
    for equation in jaxpr.eqns:
        parameters = equation.params
        if equation.primitive.name == "scan":
            length, body = parameters["length"], parameters["jaxpr"]
            # An unrolled loop has several iterations in its body, and the remainder follows the loop.
            seen = length if length <= (turns := parameters["unroll"]) else turns + length % turns
            missing += length * _total(body) - seen * _once(body)
        elif equation.primitive.name == "cond":
            missing += max(map(_total, parameters["branches"])) - max(map(_once, parameters["branches"]))
        elif equation.primitive.name == "custom_linear_solve":
            # The equation also contains the matrix and its transpose, which are not run.
            missing += _missing(parameters["jaxprs"].solve.jaxpr)
        else:
            missing += sum(map(_missing, inner_programs(parameters.values())))
    return missing


def _once(jaxpr: jex.ClosedJaxpr) -> float:
    analysis = jax.jit(jex.jaxpr_as_fun(jaxpr)).lower(*jaxpr.in_avals).cost_analysis() or {}
    # The compiler counts -1 for a call that it does not know.
    return max(float(analysis.get("flops", 0.0)), 0.0) + max(float(analysis.get("transcendentals", 0.0)), 0.0)


def inner_programs(values: Any) -> Iterator[Any]:
    """The programs (jaxprs) among the parameters of an operation."""
    for value in values:
        if isinstance(value, jex.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, jex.Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from inner_programs(value)
