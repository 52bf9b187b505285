"""Training: drivers that bring a flow closer to its target."""

from trivmap.training.data import AbstractData as AbstractData
from trivmap.training.data import Stored as Stored
from trivmap.training.data import Walkers as Walkers
from trivmap.training.evaluation import Evaluation as Evaluation
from trivmap.training.evaluation import evaluate as evaluate
from trivmap.training.fit import fit as fit
from trivmap.training.loggers import Logger as Logger
from trivmap.training.loggers import TensorBoard as TensorBoard
from trivmap.training.observer import Observer as Observer
from trivmap.training.recipe import recommended as recommended
from trivmap.training.schedules import Phase as Phase
from trivmap.training.schedules import Schedule as Schedule
from trivmap.training.state import TrainingPlan as TrainingPlan
from trivmap.training.state import TrainingState as TrainingState
from trivmap.training.trainer import Outcome as Outcome
from trivmap.training.trainer import Trainer as Trainer
