"""HTML and Markdown from results.json. Nothing is computed here but places on a page."""

from hardwatt.report.render import comparison, html, markdown, report, table

__all__ = ["comparison", "html", "markdown", "report", "table"]
