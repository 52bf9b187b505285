"""Diagnostics: functions that judge weights and chains. They take arrays and return numbers and reasons."""

from trivmap.diagnostics.autocorrelation import autocorrelation_time as autocorrelation_time
from trivmap.diagnostics.convergence import r_hat as r_hat
from trivmap.diagnostics.integration_error import Certificate as Certificate
from trivmap.diagnostics.integration_error import certificate as certificate
from trivmap.diagnostics.rounding import Rounding as Rounding
from trivmap.diagnostics.rounding import rounding_of_log_weights as rounding_of_log_weights
from trivmap.diagnostics.weights import acceptance as acceptance
from trivmap.diagnostics.weights import effective_sample_size as effective_sample_size
from trivmap.diagnostics.weights import forward_effective_sample_size as forward_effective_sample_size
from trivmap.diagnostics.weights import log_z as log_z
from trivmap.diagnostics.weights import tau_int_from_rejections as tau_int_from_rejections
