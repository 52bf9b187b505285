"""Studies: what takes many simulations, such as comparisons, critical slowing down and the tuning of couplings."""

from trivmap.studies.tuning import Tuning as Tuning
from trivmap.studies.tuning import tune as tune
