"""The mirror: everything that a lab installs, downloaded and verified or built, and served to nodes."""

from hardwatt.mirror.fill import fill, load, mirror_root, missing
from hardwatt.mirror.index import Artefact, Image, Index
from hardwatt.mirror.serve import serve, serving, stop_serving
from hardwatt.mirror.served import Served

__all__ = [
    "Artefact",
    "Image",
    "Index",
    "Served",
    "fill",
    "load",
    "mirror_root",
    "missing",
    "serve",
    "serving",
    "stop_serving",
]
