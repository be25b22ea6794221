"""From Prometheus to a bundle: raw samples, each once, at its exact millisecond, with the answers as they came."""

from hardwatt.dump.client import Client
from hardwatt.dump.errors import DumpError, IncompleteError, QueryError, TooMuchError, UnreachableError
from hardwatt.dump.run import Dumped, dump_run
from hardwatt.dump.selectors import DEFAULT, REQUIRED

__all__ = [
    "DEFAULT",
    "REQUIRED",
    "Client",
    "DumpError",
    "Dumped",
    "IncompleteError",
    "QueryError",
    "TooMuchError",
    "UnreachableError",
    "dump_run",
]
