"""Simulation: drivers that run kernels through long chains."""

from trivmap.simulation.draw import draw as draw
from trivmap.simulation.driver import AbstractDriver as AbstractDriver
from trivmap.simulation.driver import Measure as Measure
from trivmap.simulation.driver import Part as Part
from trivmap.simulation.driver import State as State
from trivmap.simulation.host_chains import ClusterChains as ClusterChains
from trivmap.simulation.markov import MarkovChains as MarkovChains
from trivmap.simulation.proposals import ProposalChains as ProposalChains
from trivmap.simulation.proposals import default_batch as default_batch
from trivmap.simulation.simulate import simulate as simulate
