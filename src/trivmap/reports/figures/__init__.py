"""Figures: each a function of plain arrays that returns a matplotlib `Figure`; none of them reads a file."""

from trivmap.reports.figures.autocorrelation import autocorrelation_figure as autocorrelation_figure
from trivmap.reports.figures.autocorrelation import rejection_runs_figure as rejection_runs_figure
from trivmap.reports.figures.comparison import break_even_figure as break_even_figure
from trivmap.reports.figures.comparison import rates_figure as rates_figure
from trivmap.reports.figures.configurations import configurations_figure as configurations_figure
from trivmap.reports.figures.consistency import consistency_figure as consistency_figure
from trivmap.reports.figures.correlator import correlator_figure as correlator_figure
from trivmap.reports.figures.effective_mass import effective_mass_figure as effective_mass_figure
from trivmap.reports.figures.log_weights import log_weight_figure as log_weight_figure
from trivmap.reports.figures.magnetization import magnetization_figure as magnetization_figure
from trivmap.reports.figures.magnetization import magnetization_history_figure as magnetization_history_figure
from trivmap.reports.figures.stages import stages_figure as stages_figure
from trivmap.reports.figures.style import png as png
from trivmap.reports.figures.training import training_figure as training_figure
