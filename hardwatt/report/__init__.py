"""Report pages: HTML and Markdown from typed results. Nothing is computed here except positions on a page."""

from typing import TYPE_CHECKING

from hardwatt.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from hardwatt.report.render import comparison, html, markdown, report, table

__all__ = ["comparison", "html", "markdown", "report", "table"]

__getattr__ = lazy_names(
    __name__,
    {
        "render": ("comparison", "html", "markdown", "report", "table"),
    },
)
