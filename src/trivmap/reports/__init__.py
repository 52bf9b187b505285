"""Reports: figures, tables and one self-contained page for a run."""

from trivmap.reports.plots import Plots as Plots
from trivmap.reports.references import Reference as Reference
from trivmap.reports.references import find_reference as find_reference
from trivmap.reports.report import write_report as write_report
from trivmap.reports.tables import ResultRow as ResultRow
from trivmap.reports.tables import result_rows as result_rows
from trivmap.reports.tables import results_table as results_table
