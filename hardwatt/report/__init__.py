"""Report pages: HTML and Markdown from typed results. Nothing is computed here except positions on a page."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardwatt.report.render import comparison, html, markdown, report, table

__all__ = ["comparison", "html", "markdown", "report", "table"]
_LEAF = {
    "comparison": "hardwatt.report.render",
    "html": "hardwatt.report.render",
    "markdown": "hardwatt.report.render",
    "report": "hardwatt.report.render",
    "table": "hardwatt.report.render",
}
"""Public name -> the module that defines it, which is imported when the name is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LEAF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LEAF[name]), name)
