<<<<<<< HEAD
"""Studies: what takes many runs, comparisons and critical slowing down."""
=======
"""Studies: what takes many simulations."""

from trivmap.studies.tuning import Tuning as Tuning
from trivmap.studies.tuning import tune as tune
>>>>>>> cluster
