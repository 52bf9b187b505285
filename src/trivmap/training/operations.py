"""Floating-point operations of a function, loops counted as often as they run."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend.core as jex


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Floating-point operations of `function(*arguments)`, from the compiler's own count of every loop's body.

    The compiler counts a loop's body once. Here the count of a body is multiplied by the loop's length, loops within
    loops too. A loop whose length only the numbers decide (`while_loop`, `fori_loop` with a traced bound) counts as
    one turn, a branch as the dearest of its choices. Transcendental functions are counted as one operation each;
    calls of libraries (matrix factorisations) are not counted.
    """
    return _total(jax.make_jaxpr(function)(*arguments))


def _total(jaxpr: jex.ClosedJaxpr) -> float:
    return _once(jaxpr) + _missing(jaxpr.jaxpr)


def _missing(jaxpr: Any) -> float:
    """What the compiler, which counts every body once, counts too little."""
    missing = 0.0
    for equation in jaxpr.eqns:
        bodies = list(_inner(equation.params.values()))
        if equation.primitive.name == "scan":
            (body,) = bodies
            missing += equation.params["length"] * _total(body) - _once(body)
        elif equation.primitive.name == "cond":
            missing += max(map(_total, bodies)) - max(map(_once, bodies))
        else:
            missing += sum(_missing(body.jaxpr) for body in bodies)
    return missing


def _once(jaxpr: jex.ClosedJaxpr) -> float:
    analysis = jax.jit(jex.jaxpr_as_fun(jaxpr)).lower(*jaxpr.in_avals).cost_analysis() or {}
    return float(analysis.get("flops", 0.0)) + float(analysis.get("transcendentals", 0.0))


def _inner(values: Any) -> Iterator[jex.ClosedJaxpr]:
    for value in values:
        if isinstance(value, jex.ClosedJaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _inner(value)
