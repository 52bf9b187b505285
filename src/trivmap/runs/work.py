"""The work in a program by kind of operation, from its trace alone: nothing is compiled.

`trivmap.training.operations` has the compiler's count for a training step, which takes seconds.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from trivmap.training.operations import inner_programs

_FREE = {"broadcast_in_dim", "reshape", "squeeze", "stop_gradient", "convert_element_type", "copy", "iota", "real"}
_FREE |= {"imag", "complex", "bitcast_convert_type", "random_wrap", "random_unwrap", "random_seed", "random_fold_in"}
_FUNCTIONS = {"tanh", "exp", "exp2", "log", "log1p", "expm1", "logistic", "sin", "cos", "tan", "pow", "cbrt"}
_FUNCTIONS |= {"erf", "erfc", "erf_inv", "lgamma", "digamma", "asin", "acos", "atan", "atan2", "sinh", "cosh"}
_FUNCTIONS |= {"asinh", "acosh", "atanh", "bessel_i1e", "igamma", "igammac"}
_SORTED = {"sort", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "top_k"}
_RANDOM = {"random_bits": 60.0, "threefry2x32": 60.0, "random_split": 60.0}
"""Integer operations of one random word."""


class Work(NamedTuple):
    """Operations on single elements, transcendental functions apart, and operations in matrix products."""

    elements: float = 0.0
    functions: float = 0.0
    products: float = 0.0

    def plus(self, other: "Work", times: int | float = 1) -> "Work":
        """The sum of this work and `times` the other."""
        return Work(*(mine + times * theirs for mine, theirs in zip(self, other, strict=True)))


def work(function: Callable[..., Any], *arguments: Any) -> Work:
    """The work in `function(*arguments)`, whose arguments may be shapes.

    The body of a loop counts as often as it is run; if that depends on runtime values, it counts once. A branch counts
    as the choice with the most operations.
    """
    return _of(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of(jaxpr: Any) -> Work:
    total = Work()
    for equation in jaxpr.eqns:
        parameters, name = equation.params, equation.primitive.name
        if name == "cond":
            total = total.plus(max((_of(branch.jaxpr) for branch in parameters["branches"]), key=sum))
        elif inner := list(inner_programs(parameters.values())):
            times = parameters["length"] if name == "scan" else 1
            for each in inner:
                total = total.plus(_of(each), times)
        else:
            total = total.plus(_elementary(name, equation))
    return total


def _elementary(name: str, equation: Any) -> Work:
    """The work of one operation that contains no program."""
    size = sum(_size(each) for each in equation.outvars)
    if name in _FREE:
        return Work()
    if name in _FUNCTIONS:
        return Work(functions=size)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return Work(products=2.0 * size * math.prod(shape[axis] for axis in contracted))
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
        return Work(products=2.0 * size * math.prod(kernel) / kernel[numbers.rhs_spec[0]])
    if name == "fft":
        length = math.prod(equation.params["fft_lengths"])
        return Work(elements=5.0 * size * max(1.0, math.log2(length)))
    if name in _RANDOM:
        return Work(elements=_RANDOM[name] * size)
    if name in _SORTED:
        return Work(elements=size * max(1.0, math.log2(size)))
    if name.startswith("reduce_"):
        return Work(elements=sum(_size(each) for each in equation.invars))
    return Work(elements=size)


def _size(variable: Any) -> float:
    return float(math.prod(getattr(variable.aval, "shape", ())))
