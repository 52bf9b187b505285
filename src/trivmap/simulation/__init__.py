"""Simulation: drivers that run kernels through long chains."""

from trivmap.simulation.chains import AbstractChains as AbstractChains
from trivmap.simulation.chains import ChainPart as ChainPart
from trivmap.simulation.chains import State as State
from trivmap.simulation.draw import draw as draw
from trivmap.simulation.markov import MarkovChains as MarkovChains
from trivmap.simulation.proposals import START as START
from trivmap.simulation.proposals import Chain as Chain
from trivmap.simulation.proposals import Part as Part
from trivmap.simulation.proposals import Simulation as Simulation
from trivmap.simulation.proposals import default_batch as default_batch
