"""The errors between a Prometheus server and a bundle.

DumpError              (a LabError)
├── UnreachableError   no answer, or the server cannot serve now, after every repetition
├── QueryError         the server understood the question and says that it is wrong
├── TooMuchError       the server refuses the amount, even in the smallest pieces
└── IncompleteError    an answer that is not all there is
"""

from hardwatt.core.errors import LabError


class DumpError(LabError):
    """A dump that did not succeed; nothing of it was written for the metric in question."""


class UnreachableError(DumpError):
    """The server does not answer."""


class QueryError(DumpError):
    """The server rejects the query itself."""


class TooMuchError(DumpError):
    """The server cannot answer so much at once."""


class IncompleteError(DumpError):
    """Data is missing or contradicts itself."""
