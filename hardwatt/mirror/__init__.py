"""The mirror: everything that a lab installs, downloaded and verified or built, and served to nodes."""

from hardwatt.mirror.archive import Export, export
from hardwatt.mirror.filler import fill, load, mirror_root, missing, resolve_lock
from hardwatt.mirror.imports import import_
from hardwatt.mirror.index import Artefact, Image, Index
from hardwatt.mirror.listing import Row, listing
from hardwatt.mirror.served import Served
from hardwatt.mirror.servers import serve, serving, stop_serving
from hardwatt.mirror.yum import ensure as publish_rpms

__all__ = [
    "Artefact",
    "Export",
    "Image",
    "Index",
    "Row",
    "Served",
    "export",
    "fill",
    "import_",
    "listing",
    "load",
    "mirror_root",
    "missing",
    "publish_rpms",
    "resolve_lock",
    "serve",
    "serving",
    "stop_serving",
]
