"""Objectives: the quantities that training minimizes."""

from trivmap.objectives.forward_kl import ForwardKL as ForwardKL
from trivmap.objectives.log_variance import LogVariance as LogVariance
from trivmap.objectives.mixture import Mixture as Mixture
from trivmap.objectives.objective import AbstractObjective as AbstractObjective
from trivmap.objectives.objective import Draws as Draws
from trivmap.objectives.path_gradient import PathGradient as PathGradient
from trivmap.objectives.path_gradient import residual_and_path as residual_and_path
from trivmap.objectives.reverse_kl import ReverseKL as ReverseKL
from trivmap.objectives.variance import Variance as Variance
