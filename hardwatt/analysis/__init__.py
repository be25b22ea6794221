"""Statistics: from a bundle to results.json. Works without a lab, a cluster or root."""

from typing import TYPE_CHECKING

from hardwatt.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from hardwatt.analysis.comparison import compare
    from hardwatt.analysis.deviations import Deviations
    from hardwatt.analysis.results import SCHEMA, analyse, destination
    from hardwatt.analysis.tables.analyse import analyse_table
    from hardwatt.analysis.tables.request import Columns, TableRequest

__all__ = ["SCHEMA", "Columns", "Deviations", "TableRequest", "analyse", "analyse_table", "compare", "destination"]

__getattr__ = lazy_names(
    __name__,
    {
        "comparison": ("compare",),
        "deviations": ("Deviations",),
        "results": ("SCHEMA", "analyse", "destination"),
        "tables.analyse": ("analyse_table",),
        "tables.request": ("Columns", "TableRequest"),
    },
)
