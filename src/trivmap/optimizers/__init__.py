"""Optimizers: how a training step is taken."""

from trivmap.optimizers.first_order import first_order as first_order
from trivmap.optimizers.first_order import optimizer_names as optimizer_names
from trivmap.optimizers.gauss_newton import GaussNewton as GaussNewton
from trivmap.optimizers.gauss_newton import GaussNewtonState as GaussNewtonState
