"""Arithmetic operations of a function, loops counted as often as they run."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend.core as jex


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Arithmetic operations of `function(*arguments)`, from the compiler's own count of every loop's body.

    The compiler counts a loop's body once. Here the count of a body is multiplied by the loop's length, loops within
    loops too. A loop whose length only the numbers decide (`while_loop`, `fori_loop` with a traced bound, the
    iterations of a linear solver) counts as one turn, a branch as the most expensive of its choices. Operations on
    integers, those of random numbers among them, count like those on floating-point numbers, a transcendental function
    as one. Calls of libraries (factorizations of matrices) are not counted.
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
            # An unrolled loop has several turns in its body, and what is left over stands behind it.
            seen = length if length <= (turns := parameters["unroll"]) else turns + length % turns
            missing += length * _total(body) - seen * _once(body)
        elif equation.primitive.name == "cond":
            missing += max(map(_total, parameters["branches"])) - max(map(_once, parameters["branches"]))
        elif equation.primitive.name == "custom_linear_solve":
            # It holds the matrix and its transpose besides, which are not run.
            missing += _missing(parameters["jaxprs"].solve.jaxpr)
        else:
            missing += sum(map(_missing, inner_programs(parameters.values())))
    return missing


def _once(jaxpr: jex.ClosedJaxpr) -> float:
    analysis = jax.jit(jex.jaxpr_as_fun(jaxpr)).lower(*jaxpr.in_avals).cost_analysis() or {}
    # A call that the compiler does not know counts -1 there.
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
