"""Statistics: from a bundle to results.json. Works without a lab, a cluster or root."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardwatt.analysis.comparison import compare
    from hardwatt.analysis.deviations import Deviations
    from hardwatt.analysis.external_table import Columns, TableRequest, analyse_table
    from hardwatt.analysis.results import SCHEMA, analyse, destination

__all__ = ["SCHEMA", "Columns", "Deviations", "TableRequest", "analyse", "analyse_table", "compare", "destination"]
_LEAF = {
    "TableRequest": "hardwatt.analysis.external_table",
    "Columns": "hardwatt.analysis.external_table",
    "Deviations": "hardwatt.analysis.deviations",
    "SCHEMA": "hardwatt.analysis.results",
    "analyse": "hardwatt.analysis.results",
    "analyse_table": "hardwatt.analysis.external_table",
    "compare": "hardwatt.analysis.comparison",
    "destination": "hardwatt.analysis.results",
}
"""Public name -> the module that defines it, which is imported when the name is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LEAF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LEAF[name]), name)
