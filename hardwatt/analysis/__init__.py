"""From a bundle to results.json: the statistics, and nothing that needs a lab, a cluster or root."""

from hardwatt.analysis.comparison import compare
from hardwatt.analysis.foreign import Asked, Columns, analyse_table
from hardwatt.analysis.otherwise import Otherwise
from hardwatt.analysis.results import SCHEMA, analyse, destination

__all__ = ["SCHEMA", "Asked", "Columns", "Otherwise", "analyse", "analyse_table", "compare", "destination"]
