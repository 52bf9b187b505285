"""Bijections: the maps a flow is made of."""

from trivmap.bijections.bijection import AbstractBijection as AbstractBijection
from trivmap.bijections.chain import Chain as Chain
from trivmap.bijections.conditioner import ConvolutionalConditioner as ConvolutionalConditioner
from trivmap.bijections.conditioner import DenseConditioner as DenseConditioner
from trivmap.bijections.continuous import Continuous as Continuous
from trivmap.bijections.coupling import Coupling as Coupling
from trivmap.bijections.features import Features as Features
from trivmap.bijections.fourier import FourierDiagonal as FourierDiagonal
from trivmap.bijections.kernels import Kernels as Kernels
from trivmap.bijections.rescale import Rescale as Rescale
from trivmap.bijections.spline import Spline as Spline
from trivmap.bijections.stack import couplings as couplings
from trivmap.bijections.transformers import Additive as Additive
from trivmap.bijections.transformers import Affine as Affine
from trivmap.bijections.zero_mode import ZeroMode as ZeroMode
