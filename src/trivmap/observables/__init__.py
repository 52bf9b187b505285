"""Observables: measurements on one configuration, and ensemble averages with errors."""

from trivmap.observables.agreement import disagreement as disagreement
from trivmap.observables.agreement import order_parameter as order_parameter
from trivmap.observables.agreement import r_hat_of as r_hat_of
from trivmap.observables.catalog import CATALOG as CATALOG
from trivmap.observables.catalog import Catalog as Catalog
from trivmap.observables.datasets import chain_tree as chain_tree
from trivmap.observables.error_analysis import analyze as analyze
from trivmap.observables.estimates import Estimates as Estimates
from trivmap.observables.history import ArrayHistory as ArrayHistory
from trivmap.observables.history import History as History
from trivmap.observables.host import measure_on_host as measure_on_host
from trivmap.observables.measure import measure as measure
from trivmap.observables.observable import FitToCorrelator as FitToCorrelator
from trivmap.observables.observable import FunctionOfMeans as FunctionOfMeans
from trivmap.observables.observable import Mean as Mean
from trivmap.observables.observable import Observable as Observable
from trivmap.observables.results import Results as Results
from trivmap.observables.stages import FlowStages as FlowStages
from trivmap.observables.stages import along_the_map as along_the_map
