"""Optimizers: the ways to take a training step."""

from trivmap.optimizers.first_order import FirstOrder as FirstOrder
from trivmap.optimizers.first_order import first_order as first_order
from trivmap.optimizers.first_order import optimizer_keywords as optimizer_keywords
from trivmap.optimizers.first_order import optimizer_names as optimizer_names
from trivmap.optimizers.gauss_newton import GaussNewton as GaussNewton
from trivmap.optimizers.gauss_newton_state import GaussNewtonState as GaussNewtonState
from trivmap.optimizers.optimizer import AbstractOptimizer as AbstractOptimizer
from trivmap.optimizers.optimizer import Problem as Problem
from trivmap.optimizers.optimizer import Taken as Taken
