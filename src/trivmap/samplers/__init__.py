"""Samplers: transition kernels and what log-weights say."""

from trivmap.samplers.certificate import Certificate as Certificate
from trivmap.samplers.certificate import certificate as certificate
from trivmap.samplers.independence import AbstractIndependence as AbstractIndependence
from trivmap.samplers.independence import IndependenceMetropolis as IndependenceMetropolis
from trivmap.samplers.independence import Proposal as Proposal
from trivmap.samplers.independence import accept as accept
from trivmap.samplers.independence import proposal_key as proposal_key
from trivmap.samplers.weights import acceptance as acceptance
from trivmap.samplers.weights import effective_sample_size as effective_sample_size
from trivmap.samplers.weights import forward_effective_sample_size as forward_effective_sample_size
from trivmap.samplers.weights import log_z as log_z
from trivmap.samplers.weights import tau_int_from_rejections as tau_int_from_rejections
