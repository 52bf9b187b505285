"""Dense and convolutional networks, plain and of exact parity."""

from trivmap.networks.activations import ACTIVATIONS as ACTIVATIONS
from trivmap.networks.layers import ConvolutionLayer as ConvolutionLayer
from trivmap.networks.layers import DenseLayer as DenseLayer
from trivmap.networks.layers import KernelExtent as KernelExtent
from trivmap.networks.network import Network as Network
from trivmap.networks.network import OddEvenNetwork as OddEvenNetwork
