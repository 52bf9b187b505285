"""Bijections: the maps that make up a flow."""

from trivmap.bijections.architectures import AbstractArchitecture as AbstractArchitecture
from trivmap.bijections.architectures import ConvolutionalNetwork as ConvolutionalNetwork
from trivmap.bijections.architectures import DenseNetwork as DenseNetwork
from trivmap.bijections.bijection import AbstractBijection as AbstractBijection
from trivmap.bijections.chain import Chain as Chain
from trivmap.bijections.conditioner import AbstractConditioner as AbstractConditioner
from trivmap.bijections.conditioner import DenseConditioner as DenseConditioner
from trivmap.bijections.conditioner import FieldConditioner as FieldConditioner
from trivmap.bijections.continuous import Continuous as Continuous
from trivmap.bijections.coupling import Coupling as Coupling
from trivmap.bijections.features import Features as Features
from trivmap.bijections.features import Smeared as Smeared
from trivmap.bijections.fourier import FourierDiagonal as FourierDiagonal
from trivmap.bijections.kernels import KernelBasis as KernelBasis
from trivmap.bijections.rescale import Rescale as Rescale
from trivmap.bijections.spline import Spline as Spline
from trivmap.bijections.stack import additive as additive
from trivmap.bijections.stack import affine as affine
from trivmap.bijections.stack import coupling_stack as coupling_stack
from trivmap.bijections.stack import spline as spline
from trivmap.bijections.transformers import Additive as Additive
from trivmap.bijections.transformers import Affine as Affine
from trivmap.bijections.zero_mode import ZeroMode as ZeroMode
