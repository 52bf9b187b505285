"""Samplers: transition kernels and what log-weights say."""

from trivmap.samplers.certificate import Certificate as Certificate
from trivmap.samplers.certificate import certificate as certificate
from trivmap.samplers.hmc import HMC as HMC
from trivmap.samplers.hmc import HMCInfo as HMCInfo
from trivmap.samplers.hmc import HMCState as HMCState
from trivmap.samplers.hmc import exp_minus_delta_h as exp_minus_delta_h
from trivmap.samplers.independence import IndependenceMetropolis as IndependenceMetropolis
from trivmap.samplers.independence import Proposal as Proposal
from trivmap.samplers.independence import accept as accept
from trivmap.samplers.independence import proposal_key as proposal_key
from trivmap.samplers.integrators import INTEGRATORS as INTEGRATORS
from trivmap.samplers.integrators import LEAPFROG as LEAPFROG
from trivmap.samplers.integrators import OMELYAN as OMELYAN
from trivmap.samplers.integrators import Integrator as Integrator
from trivmap.samplers.kinetic import AbstractKinetic as AbstractKinetic
from trivmap.samplers.kinetic import FourierMass as FourierMass
from trivmap.samplers.kinetic import UnitMass as UnitMass
from trivmap.samplers.potentials import AbstractPotential as AbstractPotential
from trivmap.samplers.potentials import ActionPotential as ActionPotential
from trivmap.samplers.potentials import PulledBack as PulledBack
from trivmap.samplers.potentials import start_positions as start_positions
from trivmap.samplers.weights import acceptance as acceptance
from trivmap.samplers.weights import effective_sample_size as effective_sample_size
from trivmap.samplers.weights import forward_effective_sample_size as forward_effective_sample_size
from trivmap.samplers.weights import log_z as log_z
from trivmap.samplers.weights import tau_int_from_rejections as tau_int_from_rejections
