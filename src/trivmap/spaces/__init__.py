"""Spaces: the values that a field takes, and what a sampler needs to know of them."""

from trivmap.spaces.angle import Angle as Angle
from trivmap.spaces.real import Real as Real
from trivmap.spaces.space import AbstractSpace as AbstractSpace
