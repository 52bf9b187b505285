"""Machine-learned trivializing maps for lattice field theory."""

from trivmap.errors import InputError as InputError
from trivmap.flows import Flow as Flow
from trivmap.lattice import Lattice as Lattice
