"""Optimisers: how a training step is taken."""

from trivmap.optimisers.first_order import first_order as first_order
from trivmap.optimisers.first_order import optimiser_names as optimiser_names
from trivmap.optimisers.gauss_newton import GaussNewton as GaussNewton
from trivmap.optimisers.gauss_newton import GaussNewtonState as GaussNewtonState
