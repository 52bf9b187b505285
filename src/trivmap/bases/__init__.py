"""Bases: the simple distributions that a flow starts from."""

from trivmap.bases.base import AbstractBase as AbstractBase
from trivmap.bases.decimated import DecimatedFreeField as DecimatedFreeField
from trivmap.bases.free_field import FreeField as FreeField
from trivmap.bases.gaussian import Gaussian as Gaussian
from trivmap.bases.hartree import hartree_mass as hartree_mass
