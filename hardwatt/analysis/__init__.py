"""From a bundle to results.json: the statistics, and nothing that needs a lab, a cluster or root."""

from hardwatt.analysis.results import SCHEMA, analyse, destination

__all__ = ["SCHEMA", "analyse", "destination"]
