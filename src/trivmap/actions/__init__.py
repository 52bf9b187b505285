"""Actions: S of the target density exp(-S)."""

from trivmap.actions.action import AbstractAction as AbstractAction
from trivmap.actions.action import force_error as force_error
from trivmap.actions.contract import require_action as require_action
from trivmap.actions.decimated import Decimated as Decimated
from trivmap.actions.free import FreeScalar as FreeScalar
from trivmap.actions.notations import NOTATIONS as NOTATIONS
from trivmap.actions.notations import convert as convert
from trivmap.actions.phi4 import Phi4 as Phi4
from trivmap.actions.site_density import SiteDensity as SiteDensity
from trivmap.actions.symmetry import require_symmetries as require_symmetries
from trivmap.actions.symmetry import symmetry_errors as symmetry_errors
from trivmap.actions.xy import XY as XY
