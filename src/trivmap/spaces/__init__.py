"""Spaces: the values of a field, and the properties of spaces that samplers need."""

from trivmap.spaces.angle import Angle as Angle
from trivmap.spaces.real import Real as Real
from trivmap.spaces.space import AbstractSpace as AbstractSpace
